"""Leaders and follower oracles, as populations with a leading `run` axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor

from stackpop.learners.contextual import ContextualFollower, ContextualSettings
from stackpop.learners.exact import ExactSettings
from stackpop.learners.pg import PGLeader, PGSettings
from stackpop.learners.ppo import PPOLeader, PPOSettings
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import Decisions, normalised_init

LeaderSettings = PGSettings | PPOSettings
FollowerSettings = ContextualSettings | ExactSettings


class Leader(Protocol):
    """A population of leaders. The caller plays `policy`, then owns the batch it hands to `update`."""

    @property
    def policy(self) -> Tensor:
        """Action probabilities [run, state, action], a fresh tensor each time."""

    def update(self, decisions: Decisions) -> None:
        """Learn from one batch of everything the leaders decided."""


def make_leaders(settings: Sequence[LeaderSettings], states: int, actions: int, streams: Streams) -> Leader:
    """A fresh population, one leader for each settings; all of one algorithm.

    states, actions: size of the tables. streams: where initial weights are drawn from.
    """
    if isinstance(settings[0], PPOSettings):
        return PPOLeader(cast(Sequence[PPOSettings], settings), states, actions, streams)
    return PGLeader(cast(Sequence[PGSettings], settings), states, actions, streams)


__all__ = [
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
