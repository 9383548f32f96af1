"""The value loss of PPO, fitted on sums instead of samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stackpop.learners.tables import Decisions, sum_by_cell

# Writes the gradient in V [run, state] into its second argument.
ValueGradient = Callable[[Tensor, Tensor], object]


def squared_error(decisions: Decisions, states: int, coefficient: float) -> ValueGradient:
    """Gradient of coefficient · mean((V(s) - R)^2) in V: 2/n (visits · V - sum of R)."""
    scale = 2 * coefficient / decisions.state.shape[1]
    visits = sum_by_cell(decisions.state, None, states) * scale
    returns = sum_by_cell(decisions.state, decisions.return_to_go, states) * scale
    return lambda values, out: torch.mul(visits, values, out=out).sub_(returns)


def clipped_squared_error(decisions: Decisions, states: int, coefficient: float, clip: float) -> ValueGradient:
    """Gradient of coefficient · mean(min((V(s) - R)^2, clip)) in V, RLlib's form of the value loss.

    Only samples whose return lies within sqrt(clip) of V(s) count. With the returns of each state
    sorted, those are a window, whose sum and size are differences of prefix sums at its two ends.
    All states share one sorted row, each shifted beyond the reach of the one before.
    """
    returns, runs = decisions.return_to_go, decisions.state.shape[0]
    samples, radius = returns.shape[1], clip**0.5
    scale = torch.tensor(2 * coefficient / samples, dtype=returns.dtype)  # a number times counts would be float32
    low, high = returns.amin(1, keepdim=True) - 1, returns.amax(1, keepdim=True) + 1
    shift = torch.arange(states) * (high - low + 1)  # [run, state]
    keys, order = (returns + shift.gather(1, decisions.state)).sort(dim=1)
    sums = torch.zeros(runs, samples + 1, dtype=returns.dtype)
    torch.cumsum(returns.gather(1, order), 1, out=sums[:, 1:])
    sums *= scale
    ends = torch.tensor([[radius], [-radius]], dtype=returns.dtype)  # [end, 1]
    low, high, shift = low[..., None], high[..., None], shift[:, None]

    def gradient(values: Tensor, out: Tensor) -> object:
        reach = (values[:, None] + ends).clamp_(low, high).add_(shift)  # [run, end, state]
        index = torch.searchsorted(keys, reach.view(runs, -1))
        upper, lower = sums.gather(1, index).view(runs, 2, states).unbind(1)
        last, first = index.view(runs, 2, states).unbind(1)
        return torch.mul((last - first) * scale, values, out=out).sub_(upper).add_(lower)

    return gradient
