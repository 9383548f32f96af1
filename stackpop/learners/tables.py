"""Tables of logits: how they start, and the gradients that need only sums per (state, action).

With discrete observations a policy-gradient loss over a batch depends on the samples through a few
sums per (state, action) alone, so the losses here take those sums instead of the samples.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from stackpop.arrays import array_of, mirrored, tensor_of

INIT_SCALE = 0.01


class Cells:
    """The cell (action, run, state) of every decision in a batch: the losses here need no more than sums over these.

    Weights and what is looked up are [step, env, run] (see `stackpop.arrays.mirrored`). Sums add step after step,
    and within a step env after env, so that a run's bits do not depend on the pack.

    decided: the number of decisions of a run.
    """

    def __init__(self, decision: Tensor, shape: Sequence[int]) -> None:
        """Cells of decisions [run, env, step] in tables of a shape (action, run, state).

        A decision is the number state · actions + action.
        """
        self._actions, self._runs, self._states = shape
        size = self._states * self._actions
        self._index = mirrored(decision) + torch.arange(0, self._runs * size, size)  # [step, env, run]
        self.decided = decision[0].numel()

    def sum(self, weights: Tensor | None = None) -> Tensor:
        """Sums of weights [step, env, run], or how many decisions there are: [action, run, state]."""
        sums = torch.zeros(self._runs * self._states * self._actions, dtype=torch.float64)
        parts = (
            torch.ones((), dtype=torch.float64).expand(self._index.numel()) if weights is None else weights.flatten()
        )
        sums.scatter_add_(0, self._index.flatten(), parts)
        return sums.view(self._runs, self._states, self._actions).movedim(-1, 0).contiguous()

    def at(self, by_state: Tensor) -> Tensor:
        """What tables [run, state] hold for each decision: [step, env, run]."""
        by_cell = by_state[..., None].expand(-1, -1, self._actions).flatten()
        return tensor_of(array_of(by_cell).take(array_of(self._index)))


def normalised_init(normals: Tensor) -> Tensor:
    """Initial weights of scale 0.01: [run, input, output], each output's weights of norm 0.01."""
    return INIT_SCALE * normals / (normals * normals).cumsum(1)[:, -1:].sqrt()


def greedy(values: Tensor) -> Tensor:
    """The policy that takes the action of largest value, of equal ones the first: one-hot, [..., action].

    Where the largest value is not finite there is no policy, but NaN, so that a run that has diverged shows.
    """
    # Action by action: over an axis this short, torch's own reductions need several times as long.
    parts = values.unbind(-1)
    largest = reduce(torch.maximum, parts)
    chosen = values == largest[..., None]
    free = ~chosen[..., 0]
    for k in range(1, len(parts)):
        chosen[..., k] &= free
        free &= ~chosen[..., k]
    return chosen.to(values.dtype).add_((largest - largest)[..., None])  # plus 0 or NaN


def first_of_largest(values: Tensor) -> Tensor:
    """The action of largest value, of equal ones the first: [..., action] -> [...] int64."""
    # Action by action: over an axis this short, torch's own reductions need several times as long.
    first, *others = values.unbind(-1)
    action = torch.zeros(first.shape, dtype=torch.int64)
    for k, each in enumerate(others, 1):
        action.masked_fill_(each > first, k)
        first = torch.maximum(first, each)
    return action


def softmax(logits: Tensor) -> Tensor:
    """`torch.softmax` over the last axis, action by action, which is far faster where there are many short rows."""
    weights = (logits - reduce(torch.maximum, logits.unbind(-1))[..., None]).exp_()
    return weights.div_(reduce(torch.add, weights.unbind(-1))[..., None])


def sum_by_cell(cells: Tensor, weights: Tensor, size: int) -> Tensor:
    """Sum the weights of each run's samples by cell: [run, sample] -> [run, size].

    A sequential sum in sample order, so that a run's bits do not depend on the pack.
    """
    return torch.zeros(cells.shape[0], size, dtype=torch.float64).scatter_add_(1, cells, weights)


def log_softmax(xp: ModuleType, logits: Any) -> Any:
    """Logarithm of the softmax over the first axis, action by action: [action, ...] arrays of the library xp."""
    shifted = logits - reduce(xp.maximum, logits)
    return shifted - xp.log(reduce(operator.add, xp.exp(shifted)))


def logit_gradient(log_policy_gradient: Any, policy: Any) -> Any:
    """Gradient in the logits from that in the log-probabilities: g - policy · sum(g), [action, ...] arrays."""
    return log_policy_gradient - policy * reduce(operator.add, log_policy_gradient)


def reinforce_gradient(policy: Tensor, returns: Tensor, samples: int) -> Tensor:
    """Gradient of the REINFORCE loss -mean(log p(a|s) · R) in the logits.

    policy: [action, ...] probabilities; returns: [action, ...], the sum of R over the samples of each
    cell; samples: how many samples the mean is over. (Williams, 1992.)
    """
    gradient: Tensor = logit_gradient(returns / -samples, policy)
    return gradient
