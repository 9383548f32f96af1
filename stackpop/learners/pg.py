"""The policy-gradient leader: REINFORCE without baseline or entropy bonus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.arrays import mirrored
from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.functions import StateFunctions
from stackpop.learners.networks import NetworkSettings
from stackpop.learners.snapshot import Snapshot
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import Cells, reinforce_gradient, softmax


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

    recordable = True

    def __init__(self, settings: Sequence[PGSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        lr = torch.tensor([s.lr for s in settings], dtype=torch.float64)
        self._functions = StateFunctions(settings, states, [actions], Streams(seeds, Phase.LEADER_INIT), lr)
        (self._logits,), (self._gradient,) = self._functions.outputs, self._functions.gradients  # [action, run, state]
        self.logits = self._logits.movedim(0, -1)
        self._policy = softmax(self.logits)  # [run, state, action]

    @property
    def policy(self) -> Tensor:
        """See `Leader`."""
        return self._policy.clone()

    def behaviour(self, _envs: int) -> Tensor:
        """What to play next: the policy, in every episode alike."""
        return self._policy[:, None]

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, batch: Batch) -> None:
        """One REINFORCE update."""
        cells = Cells(batch.decision, self._logits.shape)
        returns = cells.sum(mirrored(batch.return_to_go))
        self._gradient[:] = reinforce_gradient(self._policy.movedim(-1, 0), returns, cells.decided)
        self._functions.step()
        self._policy.copy_(softmax(self.logits))

    def snapshot(self) -> Snapshot:
        """See `Leader`."""
        return self._functions.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """See `Leader`."""
        self._functions.restore(snapshot)
        self._policy.copy_(softmax(self.logits))
