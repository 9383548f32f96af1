"""The policy-gradient leader: REINFORCE without baseline or entropy bonus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt

from stackpop.learners.adam import Adam
from stackpop.learners.streams import Streams
from stackpop.learners.tables import Decisions, normalised_init, reinforce_gradient, sum_by_cell
from stackpop.settings import Settings


class PGSettings(Settings):
    """Settings of the policy-gradient leader.

    lr: Adam's learning rate. updates: leader updates. batch_steps: environment steps a batch, rounded
    up to whole episodes.
    """

    algorithm: Literal["pg"] = "pg"
    lr: PositiveFloat = 0.008
    updates: PositiveInt = 500
    batch_steps: PositiveInt = 100


class PGLeader:
    """A population of policy-gradient leaders, tables of logits [run, state, action].

    Settings other than the learning rate must be equal across the population.
    """

    def __init__(self, settings: Sequence[PGSettings], states: int, actions: int, streams: Streams) -> None:
        self.logits = normalised_init(streams.normal(states, actions))
        self.policy = torch.softmax(self.logits, -1)  # [run, state, action]
        self._adam = Adam(self.logits, torch.tensor([s.lr for s in settings], dtype=self.logits.dtype))

    def update(self, decisions: Decisions) -> None:
        """One REINFORCE update on a batch."""
        _, states, actions = self.logits.shape
        cells = decisions.state * actions + decisions.action
        returns = sum_by_cell(cells, decisions.return_to_go, states * actions).view_as(self.logits)
        self._adam.step(reinforce_gradient(self.policy, returns, cells.shape[1]))
        self.policy = torch.softmax(self.logits, -1)
