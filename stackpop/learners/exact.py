"""The exact follower oracle: for every leader table, a follower table that maximises the follower's return.

It needs no training; `stackpop.equilibria.best_responses` gives the tables.
"""

from __future__ import annotations

from typing import Literal

from stackpop.settings import Settings


class ExactSettings(Settings):
    """Settings of the exact oracle: it has none. Ties are broken in the leader's favour."""

    oracle: Literal["exact"] = "exact"
