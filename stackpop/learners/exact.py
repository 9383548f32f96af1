"""The exact follower oracle: to every leader table, a follower table that maximises the follower's return.

The one learner that sees the solver, since the solver is what it stands for. It needs no training.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stackpop.arrays import HOST
from stackpop.equilibria import best_responses
from stackpop.games import Game, all_tables
from stackpop.settings import Settings


class ExactSettings(Settings):
    """Settings of the exact oracle: it has none. Ties are broken in the leader's favour."""

    oracle: Literal["exact"] = "exact"


def exact_replies(game: Game) -> Tensor:
    """Best responses to every leader table: actions [context, follower_state], on the CPU."""
    with HOST:
        tables = all_tables(game.follower_states, game.columns)
        return tables[torch.from_numpy(best_responses(game).response)]
