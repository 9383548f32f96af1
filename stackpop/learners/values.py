"""The value loss of PPO, fitted on sums instead of samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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
    All states share one sorted row, where each state's returns are shifted beyond those of the one before.
    """
    returns, (runs, samples) = decisions.return_to_go, decisions.state.shape
    radius = clip**0.5
    scale = torch.tensor(2 * coefficient / samples, dtype=returns.dtype)  # a number times counts would be float32
    low, high = returns.amin(1, keepdim=True) - 1, returns.amax(1, keepdim=True) + 1
    shift = torch.arange(states) * (high - low + 1)  # [run, state]
    shifted = returns + shift.gather(1, decisions.state)
    # Numpy's sort needs a tenth of the time of torch's, which returns the order as well.
    shifted = torch.from_numpy(np.sort(shifted.numpy(), axis=1))
    sums = torch.zeros(runs, samples + 1, dtype=returns.dtype)
    torch.cumsum(shifted, 1, out=sums[:, 1:])
    sums *= scale
    # One set of buffers and views for all epochs: at this size, making a tensor costs as much as computing it.
    lowest, highest = (low + shift)[:, None], (high + shift)[:, None]
    radii = torch.tensor([[radius], [-radius]], dtype=returns.dtype)
    centre, reach = torch.empty_like(shift), torch.empty(runs, 2, states, dtype=returns.dtype)
    index, within = reach.long().flatten(1), torch.empty_like(reach).flatten(1)
    last, first = index.view(runs, 2, states).unbind(1)
    upper, lower = within.view(runs, 2, states).unbind(1)
    centres, ends = centre.unsqueeze(1), reach.flatten(1)

    def gradient(values: Tensor, out: Tensor) -> object:
        torch.add(values, shift, out=centre)
        torch.add(centres, radii, out=reach).clamp_(lowest, highest)
        torch.searchsorted(shifted, ends, out=index)
        torch.gather(sums, 1, index, out=within)
        return torch.mul((last - first) * scale, centre, out=out).sub_(upper).add_(lower)

    return gradient
