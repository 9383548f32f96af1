"""What the solvers return. Every return is one episode's, undiscounted, the game's reward offset included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BestResponses:
    """What every deterministic leader table is answered with.

    Tables are numbered lexicographically, as in `stackpop.games.all_tables`. Returns that differ by no
    more than the rounding of their sums count as equal.
    """

    follower_return: NDArray[np.float64]  # [leader_table] the best-response value
    leader_optimistic: NDArray[np.float64]  # [leader_table] the leader's, follower ties broken for it
    leader_pessimistic: NDArray[np.float64]  # [leader_table] the leader's, follower ties broken against it
    response: NDArray[np.int64]  # [leader_table] follower table played, the lowest of the leader's favourites
    is_best: NDArray[np.bool_]  # [leader_table, follower_table] whether it is a best response


@dataclass(frozen=True)
class PureCommitment:
    """The Stackelberg equilibrium over deterministic stationary tables.

    optimistic, pessimistic: the leader's best return with follower ties broken for and against it.
    leader_table, follower_table: an optimum under optimistic ties, the lexicographically first.
    """

    optimistic: float
    pessimistic: float
    leader_table: tuple[int, ...]  # action in each leader state
    follower_table: tuple[int, ...]  # action in each follower state


@dataclass(frozen=True)
class StochasticCommitment:
    """A stochastic leader policy and what it earns.

    value: the leader's return.
    policy: probabilities.
    method: how the optimum was found.
    tolerance: in returns; the accuracy of the (local) optimum, and what the follower may lack of a best response.
    """

    value: float
    policy: NDArray[np.float64]  # [leader_state, row]
    method: str
    tolerance: float
