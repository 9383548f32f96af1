"""The policy-gradient leader: REINFORCE without baseline or entropy bonus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.functions import StateFunctions
from stackpop.learners.networks import NetworkSettings
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import reinforce_gradient, sum_by_cell


class PGSettings(NetworkSettings):
    """Settings of the policy-gradient leader.

    lr: Adam's learning rate. updates: leader updates. batch_steps: environment steps a batch, rounded
    up to whole episodes. network, hidden: see `NetworkSettings`.
    """

    algorithm: Literal["pg"] = "pg"
    lr: PositiveFloat = 0.008
    updates: PositiveInt = 500
    batch_steps: PositiveInt = 100

    def episodes(self, episode_steps: int) -> int:
        """Leader episodes a batch."""
        return whole_episodes(self.batch_steps, episode_steps)


class PGLeader:
    """A population of policy-gradient leaders: logits [run, state, action] from tables or networks.

    Settings other than the learning rate must be equal across the population.
    """

    def __init__(self, settings: Sequence[PGSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        lr = torch.tensor([s.lr for s in settings], dtype=torch.float64)
        self._functions = StateFunctions(settings, states, [actions], Streams(seeds, Phase.LEADER_INIT), lr)
        (self.logits,), (self._gradient,) = self._functions.outputs, self._functions.gradients
        self.policy = torch.softmax(self.logits, -1)  # [run, state, action]

    def behaviour(self, _envs: int) -> Tensor:
        """What to play next: the policy, in every episode alike."""
        return self.policy[:, None]

    def update(self, batch: Batch) -> None:
        """One REINFORCE update."""
        decisions = batch.decisions
        _, states, actions = self.logits.shape
        cells = decisions.state * actions + decisions.action
        returns = sum_by_cell(cells, decisions.return_to_go, states * actions).view_as(self.logits)
        self._gradient.copy_(reinforce_gradient(self.policy, returns, cells.shape[1]))
        self._functions.step()
        self.policy = torch.softmax(self.logits, -1)
