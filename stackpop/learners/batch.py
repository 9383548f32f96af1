"""What a population of leaders learns from: its own episodes, as it saw them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stackpop.games.play import returns_to_go


def whole_episodes(batch_steps: int, episode_steps: int) -> int:
    """Episodes a batch: whole ones, until there are at least `batch_steps` environment steps."""
    return math.ceil(batch_steps / episode_steps)


@dataclass(frozen=True)
class Batch:
    """Leader episodes, one step for each decision that the leader is to learn from.

    decision: [run, env, step] int64, the state and the action as one number, state · actions + action. actions: how
    many the leader has. reward: [run, env, step] what the leader was paid after the step. Tensors that are laid out as
    those of `stackpop.games.play` are handled fastest.
    """

    decision: Tensor
    actions: int
    reward: Tensor

    @staticmethod
    def of(state: Tensor, action: Tensor, actions: int, reward: Tensor) -> Batch:
        """The batch of states and actions [run, env, step] of a leader with so many actions."""
        return Batch(state * actions + action, actions, reward)

    @cached_property
    def state(self) -> Tensor:
        """What the leader observed: [run, env, step]."""
        return self.decision // self.actions

    @cached_property
    def action(self) -> Tensor:
        """What it did: [run, env, step]."""
        return self.decision % self.actions

    @cached_property
    def return_to_go(self) -> Tensor:
        """What was earned from each step on, undiscounted: [run, env, step]."""
        return returns_to_go(self.reward)

    @property
    def last(self) -> Tensor:
        """Which step is its episode's last: [step] bool."""
        steps = self.decision.shape[-1]
        return torch.arange(steps) == steps - 1
