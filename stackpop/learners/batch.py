"""What a population of leaders learns from: its own episodes, as it saw them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stackpop.games.play import returns_to_go
from stackpop.learners.tables import Decisions


@dataclass(frozen=True)
class Batch:
    """Leader episodes, one step for each decision that the leader is to learn from.

    state, action: [run, env, step] int64. reward: [run, env, step] what the leader was paid after the step.
    """

    state: Tensor
    action: Tensor
    reward: Tensor

    @cached_property
    def decisions(self) -> Decisions:
        """The steps of all episodes in one row a run, each with what was earned from there on."""
        return Decisions(self.state.flatten(1), self.action.flatten(1), returns_to_go(self.reward).flatten(1))

    @property
    def last(self) -> Tensor:
        """Which step is its episode's last: [step] bool."""
        steps = self.state.shape[-1]
        return torch.arange(steps) == steps - 1
