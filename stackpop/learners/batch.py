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

    state, action: [run, env, step] int64. reward: [run, env, step] what the leader was paid after the step.
    """

    state: Tensor
    action: Tensor
    reward: Tensor

    @cached_property
    def return_to_go(self) -> Tensor:
        """What was earned from each step on, undiscounted: [run, env, step]."""
        return returns_to_go(self.reward)

    @property
    def last(self) -> Tensor:
        """Which step is its episode's last: [step] bool."""
        steps = self.state.shape[-1]
        return torch.arange(steps) == steps - 1
