"""Tables of logits: how they start, and the gradients that need only sums per (state, action).

With discrete observations a policy-gradient loss over a batch depends on the samples through a few
sums per (state, action) alone, so the losses here take those sums instead of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

INIT_SCALE = 0.01


@dataclass(frozen=True)
class Decisions:
    """Everything a population decided in a batch, one entry a decision.

    state, action: [run, sample]; return_to_go: [run, sample] what was earned from there on.
    """

    state: Tensor
    action: Tensor
    return_to_go: Tensor


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


def softmax(logits: Tensor) -> Tensor:
    """`torch.softmax` over the last axis, action by action, which is far faster where there are many short rows."""
    weights = (logits - reduce(torch.maximum, logits.unbind(-1))[..., None]).exp_()
    return weights.div_(reduce(torch.add, weights.unbind(-1))[..., None])


def sum_by_cell(cells: Tensor, weights: Tensor | None, size: int) -> Tensor:
    """Sum the weights (or count) of each run's samples by cell: [run, sample] -> [run, size].

    A sequential sum in sample order, so that a run's bits do not depend on the pack.
    """
    runs = cells.shape[0]
    flat = (cells + torch.arange(runs)[:, None] * size).flatten()
    sums = torch.bincount(flat, None if weights is None else weights.flatten(), minlength=runs * size)
    return sums.view(runs, size).to(torch.float64)  # counts too: integers times a number would be float32


def logit_gradient(log_policy_gradient: Tensor, policy: Tensor, out: Tensor | None = None) -> Tensor:
    """Gradient in the logits from that in the log-probabilities: g - policy · sum(g), [..., action]."""
    # Term by term, not by a reduction, so that a row's bits do not depend on the rows beside it.
    total = log_policy_gradient[..., :1]
    for k in range(1, policy.shape[-1]):
        total = total + log_policy_gradient[..., k : k + 1]
    return torch.sub(log_policy_gradient, policy * total, out=out)


def reinforce_gradient(policy: Tensor, returns: Tensor, samples: int) -> Tensor:
    """Gradient of the REINFORCE loss -mean(log p(a|s) · R) in the logits.

    policy: [..., state, action] probabilities; returns: [..., state, action], the sum of R over the samples of each
    cell; samples: how many samples the mean is over. (Williams, 1992.)
    """
    return logit_gradient(returns / -samples, policy)
