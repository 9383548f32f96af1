"""Train leaders against the followers of an oracle, and record what they were after every update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import host_array
from stackpop.devices import Device
from stackpop.learners import Batch, TabularQSettings, make_leaders
from stackpop.results import TrainingResult
from stackpop.spec import RunSpec
from stackpop.training.learning import LearningFollowers
from stackpop.training.packs import Arrays, timed
from stackpop.training.queried import QueriedFollowers


class Followers(Protocol):
    """The followers that a pack of leaders meets: they play with the leaders, and tell what the leaders are worth.

    episode_steps: environment steps of a leader episode.
    """

    episode_steps: int

    def play(self, behaviour: Tensor, envs: int) -> Batch:
        """The leaders' next training episodes, with what they play: [run, env or 1, state, action]."""

    def curves(self, policies: Tensor) -> dict[str, Tensor]:
        """Returns, gaps and regrets [run, iteration] of recorded policies [run, iteration, state, action]."""

    def post_train(self, policy: Tensor) -> dict[str, Tensor]:
        """Curves [run, post_iteration] of followers that train on against final leaders [run, 1, state, action]."""


def train_leaders(
    specs: Sequence[RunSpec], trained: Mapping[str, np.ndarray], device: Device = "cpu"
) -> list[TrainingResult]:
    """Train a pack of leaders, each against its frozen follower, then post-train the followers.

    trained: what each trained follower `learned`, by `follower_id`; runs whose oracle needs no training need none.
    Results hold the curves, policies and post-training curves by the store's names. Where the contexts are too many to
    enumerate, the curves of stochastic leaders are means over evaluation episodes, and those that nobody knows are
    left out.

    Raises:
        ClusterError: the device is `cuda`, and there is none.
    """
    return timed(lambda pack: _train_leaders(pack, trained), specs, device)


def _train_leaders(specs: Sequence[RunSpec], trained: Mapping[str, np.ndarray]) -> list[Arrays]:
    """Curves of a pack of leaders of one shape, and of the post-training of their followers."""
    followers = _followers(specs, trained)
    policies = _leader_policies(specs, followers)
    curves = followers.curves(policies)
    curves["entropy"] = -(policies * policies.clamp_min(1e-300).log()).sum(-1).mean(-1)
    steps = specs[0].leader.episodes(followers.episode_steps) * followers.episode_steps
    curves["env_steps"] = (steps * torch.arange(1, policies.shape[1] + 1)).expand(len(specs), -1)
    curves["leader_policy"] = policies
    curves |= {f"post_{name}": curve for name, curve in followers.post_train(policies[:, -1:]).items()}
    arrays = {name: host_array(values) for name, values in curves.items()}
    return [{name: values[row] for name, values in arrays.items()} for row in range(len(specs))]


def _followers(specs: Sequence[RunSpec], trained: Mapping[str, np.ndarray]) -> Followers:
    if isinstance(settings := specs[0].follower, TabularQSettings):
        return LearningFollowers(specs, settings)
    return QueriedFollowers.of(specs, trained)


def _leader_policies(specs: Sequence[RunSpec], followers: Followers) -> Tensor:
    """Train the leaders; their policy after each update, [run, iteration, state, action]."""
    leader, game = specs[0].leader, specs[0].to_game()
    leaders = make_leaders([s.leader for s in specs], specs[0].leader_states, game.rows, [s.seed for s in specs])
    envs, policies = leader.episodes(followers.episode_steps), []
    for _ in range(leader.updates):
        leaders.update(followers.play(leaders.behaviour(envs), envs))
        policies.append(leaders.policy)
    return torch.stack(policies, 1)
