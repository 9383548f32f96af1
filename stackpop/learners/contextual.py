"""The contextual follower: a policy-gradient learner that sees the leader's answers to all queries.

It is pretrained against random leaders until it best-responds to every one of them at once, then
frozen and greedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.learners.adam import Adam
from stackpop.learners.tables import reinforce_gradient, sum_by_cell
from stackpop.settings import Settings


class ContextualSettings(Settings):
    """Settings of the contextual follower.

    lr: Adam's learning rate. updates: most pretraining updates. batch_steps: environment steps a
    batch, query steps included, rounded up to whole episodes. early_stop: stop once it best-responds
    exactly to every leader table. post_updates: follower updates against the final leader, after the
    leader's training. max_regret: leaders start only if the trained follower's regret is at most this
    against every leader table, in payoff an episode; null for any.
    """

    oracle: Literal["contextual"] = "contextual"
    lr: PositiveFloat = 0.02
    updates: PositiveInt = 500
    batch_steps: PositiveInt = 100
    early_stop: bool = True
    post_updates: NonNegativeInt = 50
    max_regret: NonNegativeFloat | None = None


class ContextualFollower:
    """A population of contextual followers, tables of logits [run, context, state, action].

    A context is the index of the leader's answers among all leader tables. Settings other than the
    learning rate must be equal across the population.
    """

    def __init__(self, settings: Sequence[ContextualSettings], logits: Tensor) -> None:
        self.logits = logits
        self.policy = torch.softmax(logits, -1)  # [run, context, state, action]
        self._adam = Adam(self.logits, torch.tensor([s.lr for s in settings], dtype=logits.dtype))

    @property
    def replies(self) -> Tensor:
        """Greedy actions [run, context, state]; of equal logits the first."""
        return self.logits.argmax(-1)

    def update(self, context: Tensor, state: Tensor, action: Tensor, return_to_go: Tensor) -> None:
        """One REINFORCE update: context [run, env]; state, action, return_to_go [run, env, round]."""
        _, _, states, actions = self.logits.shape
        cells = ((context[..., None] * states + state) * actions + action).flatten(1)
        returns = sum_by_cell(cells, return_to_go.flatten(1), self.logits[0].numel()).view_as(self.logits)
        self._adam.step(reinforce_gradient(self.policy, returns, cells.shape[1]))
        self.policy = torch.softmax(self.logits, -1)
