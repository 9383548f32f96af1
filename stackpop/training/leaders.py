"""Train leaders against the followers of an oracle, and record what they were after every update."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import host_array, tensor_of
from stackpop.devices import Device
from stackpop.learners import Batch, Snapshot, TabularQSettings, joined, make_leaders, part, shared
from stackpop.results import NOT_BEGUN, TrainingResult
from stackpop.spec import RunSpec
from stackpop.training.cuda_graphs import GraphedUpdate
from stackpop.training.learning import LearningFollowers
from stackpop.training.packs import timed
from stackpop.training.queried import QueriedFollowers


class Followers(Protocol):
    """The followers that a pack of leaders meets: they play with the leaders, and tell what the leaders are worth.

    episode_steps: environment steps of a leader episode. recordable: whether all that changes as they play is in
    tensors that they change in place; see `GraphedUpdate`.
    """

    episode_steps: int
    recordable: bool

    def play(self, behaviour: Tensor, envs: int) -> Batch:
        """The leaders' next training episodes, with what they play: [run, env or 1, state, action]."""

    def curves(self, policies: Tensor) -> dict[str, Tensor]:
        """Returns, gaps and regrets [run, iteration] of the next recorded policies [run, iteration, state, action]."""

    def snapshot(self) -> Snapshot:
        """All that further play and curves depend on."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of followers of the same runs."""

    def post_train(self, policy: Tensor) -> dict[str, Tensor]:
        """Curves [run, post_iteration] of followers that train on against final leaders [run, 1, state, action]."""


def train_leaders(
    specs: Sequence[RunSpec],
    trained: Mapping[str, np.ndarray],
    device: Device = "cpu",
    *,
    segment: int | None = None,
    earlier: Sequence[TrainingResult] = (),
) -> list[TrainingResult]:
    """Train a pack of leaders, each against its frozen follower, then post-train the followers.

    trained: what each trained follower `learned`, by `follower_id`; runs whose oracle needs no training need none.
    segment: updates to make at most, by default all. Runs that have more to come are `unfinished`, and go on if their
        results are given as `earlier`, all of equally many updates: with the same bits, in whatever packs. On another
        kind of device they start anew.
    Results hold the curves, policies and post-training curves by the store's names. Where the contexts are too many to
    enumerate, the curves of stochastic leaders are means over evaluation episodes, and those that nobody knows are
    left out.

    Raises:
        ClusterError: the device is `cuda`, and there is none.
    """
    pack = list(zip(specs, earlier or [NOT_BEGUN] * len(specs), strict=True))
    return timed(lambda some: _train_leaders(some, trained, segment), pack, device)


def _train_leaders(
    pack: Sequence[tuple[RunSpec, TrainingResult]], trained: Mapping[str, np.ndarray], segment: int | None
) -> list[TrainingResult]:
    """What comes of a pack of leaders of one shape in their next updates, or of the end of their training."""
    specs = [spec for spec, _ in pack]
    training = LeaderTraining(specs, _followers(specs, trained))
    if pack[0][1].arrays:
        snapshot = _stacked([result.arrays for _, result in pack])
        if training.can_restore(snapshot):
            training.restore(snapshot)
    training.train(segment or specs[0].leader.updates)
    found = training.results() if training.ended else training.snapshot()
    arrays = {name: host_array(values) for name, values in found.items()}
    return [
        dataclasses.replace(
            result, arrays={name: values[row] for name, values in arrays.items()}, unfinished=not training.ended
        )
        for row, (_, result) in enumerate(pack)
    ]


def _stacked(arrays: Sequence[Mapping[str, np.ndarray]]) -> Snapshot:
    """The snapshot of a pack from those of its runs."""
    return {name: tensor_of(np.stack([each[name] for each in arrays])) for name in arrays[0]}


class LeaderTraining:
    """The training of a pack of leaders, of which any number of updates can be made at a time.

    made: updates so far. curves: of these, [run, iteration, ...] by the store's names.
    """

    def __init__(self, specs: Sequence[RunSpec], followers: Followers) -> None:
        settings, game = specs[0].leader, specs[0].to_game()
        self._runs, self._settings, self._followers = len(specs), settings, followers
        self._envs = settings.episodes(followers.episode_steps)
        self._leaders = make_leaders(
            [s.leader for s in specs], specs[0].leader_states, game.rows, [s.seed for s in specs]
        )
        self.made, self.curves = 0, dict[str, Tensor]()

    @property
    def ended(self) -> bool:
        """Whether all updates are made."""
        return self.made == self._settings.updates

    def train(self, updates: int) -> None:
        """Make so many updates, or as many as are left."""
        recordable = self._leaders.recordable and self._followers.recordable
        # Not one for all calls: what is restored in between may be in other memory than what was recorded.
        next_update, policies = GraphedUpdate(self._update, recordable=recordable), []
        for _ in range(min(updates, self._settings.updates - self.made)):
            next_update()
            policies.append(self._leaders.policy)
        self.made += len(policies)
        policy = torch.stack(policies, 1)
        curves = self._followers.curves(policy)
        curves["entropy"] = -(policy * policy.clamp_min(1e-300).log()).sum(-1).mean(-1)
        curves["leader_policy"] = policy
        before = self.curves
        self.curves = {name: torch.cat([before[name], new], 1) if before else new for name, new in curves.items()}

    def _update(self) -> None:
        self._leaders.update(self._followers.play(self._leaders.behaviour(self._envs), self._envs))

    def results(self) -> dict[str, Tensor]:
        """The curves of a training that has ended, and those of the followers' post-training."""
        steps = self._envs * self._followers.episode_steps * torch.arange(1, self.made + 1)
        post = self._followers.post_train(self.curves["leader_policy"][:, -1:])
        named = {f"post_{name}": curve for name, curve in post.items()}
        return {**self.curves, "env_steps": steps.expand(self._runs, -1), **named}

    def snapshot(self) -> Snapshot:
        """All that is needed to go on."""
        parts = {"leaders": self._leaders.snapshot(), "followers": self._followers.snapshot(), "curves": self.curves}
        return {**joined(parts), "made": shared(self.made, self._runs)}

    def can_restore(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot was made on this kind of device: the random numbers of another go on otherwise."""
        place = "followers.training.place"
        return snapshot[place].shape == self.snapshot()[place].shape

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same runs."""
        self._leaders.restore(part(snapshot, "leaders"))
        self._followers.restore(part(snapshot, "followers"))
        self.curves, self.made = part(snapshot, "curves"), int(snapshot["made"][0])


def _followers(specs: Sequence[RunSpec], trained: Mapping[str, np.ndarray]) -> Followers:
    if isinstance(settings := specs[0].follower, TabularQSettings):
        return LearningFollowers(specs, settings)
    return QueriedFollowers.of(specs, trained)
