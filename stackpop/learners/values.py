"""The value loss of PPO, fitted on sums instead of samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stackpop.learners.tables import Decisions, sum_by_cell

Gradient = Callable[[Tensor], Tensor]


def squared_error(decisions: Decisions, states: int) -> Gradient:
    """Gradient of mean((V(s) - R)^2) in V [run, state]: 2/n (visits · V - sum of R)."""
    samples = decisions.state.shape[1]
    visits = sum_by_cell(decisions.state, None, states) * (2 / samples)
    returns = sum_by_cell(decisions.state, decisions.return_to_go, states) * (2 / samples)
    return lambda values: visits * values - returns


def clipped_squared_error(decisions: Decisions, states: int, clip: float) -> Gradient:
    """Gradient of mean(min((V(s) - R)^2, clip)) in V [run, state], RLlib's form of the value loss.

    Only samples whose return lies within sqrt(clip) of V(s) count. With the returns of each state
    sorted, those are a window, whose sum and size are differences of prefix sums at its two ends.
    All states share one sorted row, each shifted beyond the reach of the one before.
    """
    returns, runs = decisions.return_to_go, decisions.state.shape[0]
    samples, radius = returns.shape[1], clip**0.5
    low, high = returns.amin(1, keepdim=True) - 1, returns.amax(1, keepdim=True) + 1
    shift = torch.arange(states) * (high - low + 1)  # [run, state]
    keys, order = (returns + shift.gather(1, decisions.state)).sort(dim=1)
    sums = torch.zeros(runs, samples + 1, dtype=returns.dtype)
    sums[:, 1:] = returns.gather(1, order).cumsum(1)
    ends = torch.tensor([[-radius], [radius]], dtype=returns.dtype)  # [end, 1]
    low, high, shift = low[..., None], high[..., None], shift[:, None]

    def gradient(values: Tensor) -> Tensor:
        reach = (values[:, None] + ends).clamp_(low, high).add_(shift)  # [run, end, state]
        index = torch.searchsorted(keys, reach.view(runs, -1))
        within = sums.gather(1, index).view(runs, 2, states)
        index = index.view(runs, 2, states)
        return ((index[:, 1] - index[:, 0]) * values - (within[:, 1] - within[:, 0])) * (2 / samples)

    return gradient
