"""Leaders and follower oracles, as populations with a leading `run` axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from stackpop.games import Game
from stackpop.learners.contextual import ContextualFollower, ContextualSettings
from stackpop.learners.exact import ExactSettings, exact_replies
from stackpop.learners.pg import PGLeader, PGSettings
from stackpop.learners.ppo import PPOLeader, PPOSettings
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import Decisions, normalised_init
from stackpop.settings import Settings

# What a sweep file may choose from. A new learner joins a union of settings and the mapping below it.
LeaderSettings = PGSettings | PPOSettings
FollowerSettings = ContextualSettings | ExactSettings


class Leader(Protocol):
    """A population of leaders. The caller plays `policy`, then owns the batch it hands to `update`.

    policy: action probabilities [run, state, action]; every update makes a new tensor of it.
    """

    policy: Tensor

    def update(self, decisions: Decisions) -> None:
        """Learn from one batch of everything the leaders decided."""


# Settings -> population, made of (settings of each run, states, actions, streams of initial weights).
LEADERS: Mapping[type[Settings], Callable[[Sequence[Any], int, int, Streams], Leader]] = {
    PGSettings: PGLeader,
    PPOSettings: PPOLeader,
}
# Settings of oracles that need no training -> the follower's actions [context, follower_state] in a game.
COMPUTED_ORACLES: Mapping[type[Settings], Callable[[Game], Tensor]] = {
    ExactSettings: exact_replies,
}


def make_leaders(settings: Sequence[LeaderSettings], states: int, actions: int, streams: Streams) -> Leader:
    """A fresh population, one leader for each settings; all of one algorithm.

    states, actions: size of the tables. streams: where initial weights are drawn from.
    """
    return LEADERS[type(settings[0])](settings, states, actions, streams)


__all__ = [
    "COMPUTED_ORACLES",
    "LEADERS",
    "ContextualFollower",
    "ContextualSettings",
    "Decisions",
    "ExactSettings",
    "FollowerSettings",
    "Leader",
    "LeaderSettings",
    "PGLeader",
    "PGSettings",
    "PPOLeader",
    "PPOSettings",
    "Phase",
    "Streams",
    "make_leaders",
    "normalised_init",
]
