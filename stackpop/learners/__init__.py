"""Leaders and follower oracles, as populations with a leading `run` axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from stackpop.games import Game
from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.contextual import ContextualFollower, ContextualSettings, fresh_parameters, make_followers
from stackpop.learners.es import ESLeader, ESSettings
from stackpop.learners.exact import ExactSettings, exact_replies
from stackpop.learners.networks import NetworkSettings
from stackpop.learners.pg import PGLeader, PGSettings
from stackpop.learners.ppo import PPOLeader, PPOSettings
from stackpop.learners.simple_q import SimpleQLeader, SimpleQSettings
from stackpop.learners.snapshot import Snapshot, joined, part, shared
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tabular_q import TabularQFollower, TabularQSettings
from stackpop.settings import Settings

# What a sweep file may choose from. A new learner joins a union of settings and the mapping below it.
LeaderSettings = PGSettings | PPOSettings | SimpleQSettings | ESSettings
FollowerSettings = ContextualSettings | ExactSettings | TabularQSettings


class Leader(Protocol):
    """A population of leaders. The caller plays `behaviour`, then owns the batch it hands to `update`.

    recordable: whether all that changes from one update to the next is in tensors that an update changes in place, by
    the same operations each time.
    """

    recordable: bool

    @property
    def policy(self) -> Tensor:
        """Action probabilities [run, state, action], what was learned so far; later updates leave this tensor alone."""

    def behaviour(self, envs: int, /) -> Tensor:
        """What to play in the next batch: [run, env, state, action], or [run, 1, ...] if alike in every episode."""

    def update(self, batch: Batch) -> None:
        """Learn from the episodes that were played."""

    def snapshot(self) -> Snapshot:
        """All that the next updates depend on; views of what they change."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of leaders with the same settings and seeds; the population owns it from now on."""


# Settings -> population, made of (settings of each run, states, actions, seeds).
LEADERS: Mapping[type[Settings], Callable[[Sequence[Any], int, int, Sequence[int]], Leader]] = {
    PGSettings: PGLeader,
    PPOSettings: PPOLeader,
    SimpleQSettings: SimpleQLeader,
    ESSettings: ESLeader,
}
# Settings of oracles that need no training -> the follower's actions [context, follower_state] in a game.
COMPUTED_ORACLES: Mapping[type[Settings], Callable[[Game], Tensor]] = {
    ExactSettings: exact_replies,
}
# Settings of oracles that ask no queries, for they learn inside every leader episode.
LEARNING_ORACLES: tuple[type[Settings], ...] = (TabularQSettings,)


def make_leaders(settings: Sequence[LeaderSettings], states: int, actions: int, seeds: Sequence[int]) -> Leader:
    """A fresh population, one leader for each settings and seed; all of one algorithm.

    states, actions: size of the tables.
    """
    return LEADERS[type(settings[0])](settings, states, actions, seeds)


__all__ = [
    "COMPUTED_ORACLES",
    "LEADERS",
    "LEARNING_ORACLES",
    "Batch",
    "ContextualFollower",
    "ContextualSettings",
    "ESLeader",
    "ESSettings",
    "ExactSettings",
    "FollowerSettings",
    "Leader",
    "LeaderSettings",
    "NetworkSettings",
    "PGLeader",
    "PGSettings",
    "PPOLeader",
    "PPOSettings",
    "Phase",
    "SimpleQLeader",
    "SimpleQSettings",
    "Snapshot",
    "Streams",
    "TabularQFollower",
    "TabularQSettings",
    "fresh_parameters",
    "joined",
    "make_followers",
    "make_leaders",
    "part",
    "shared",
    "whole_episodes",
]
