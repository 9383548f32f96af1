"""The value loss of PPO, fitted on sums instead of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stackpop.arrays import array_of, library_of, sort_rows
from stackpop.learners.tables import Cells

# The gradient in V, an array [run, state], for the values as they are when it is called.
ValueGradient = Callable[[], Any]


def squared_error(values: Tensor, visits: Tensor, totals: Tensor, coefficient: float) -> ValueGradient:
    """Gradient of coefficient · mean((V(s) - R)^2) in V: 2 · coefficient · (visits · V - totals).

    values: [run, state]; visits, totals: number of samples and sum of their returns by [run, state], both divided by
    the number of all.
    """
    v, slope, shift = map(array_of, (values, 2 * coefficient * visits, 2 * coefficient * totals))
    return lambda: slope * v - shift


def clipped_squared_error(
    values: Tensor, cells: Cells, returns: Tensor, coefficient: float, clip: float
) -> ValueGradient:
    """Gradient of coefficient · mean(min((V(s) - R)^2, clip)) in V, RLlib's form of the value loss.

    values: [run, state]; cells, returns: of all decisions, returns [step, env, run].

    Only samples whose return lies within sqrt(clip) of V(s) count. With the returns of each state
    sorted, those are a window, whose sum and size are differences of prefix sums at its two ends.
    All states share one sorted row, where each state's returns are shifted beyond those of the one before.
    """
    runs, states = values.shape
    low, high = returns.amin((0, 1))[:, None] - 1, returns.amax((0, 1))[:, None] + 1  # [run, 1]
    shift = torch.arange(states) * (high - low + 1)  # [run, state]
    shifted = sort_rows((returns + cells.at(shift)).flatten(0, 1).T.contiguous())
    radius, samples = clip**0.5, shifted.shape[1]
    sums = torch.zeros(runs, samples + 1, dtype=values.dtype)
    torch.cumsum(shifted, 1, out=sums[:, 1:])
    row = torch.arange(runs)[:, None, None] * (samples + 1)  # where its prefix sums begin
    radii = radius * torch.arange(-1, 2, 2, dtype=values.dtype)[:, None]
    ends, index = torch.empty(runs, 2, states, dtype=values.dtype), torch.empty(runs, 2, states, dtype=torch.int64)
    xp, scale = library_of(values), 2 * coefficient / samples
    v, offset, either, first, found, prefix = map(array_of, (values, shift, radii, row, index, sums.flatten()))
    all_ends, all_found = ends.flatten(1), index.flatten(1)
    lowest, highest, window = map(array_of, ((low + shift)[:, None], (high + shift)[:, None], ends))

    def gradient() -> Any:
        centre = v + offset
        xp.minimum(xp.maximum(centre[:, None] + either, lowest), highest, out=window)
        torch.searchsorted(shifted, all_ends, out=all_found)
        summed = prefix.take(found + first)
        counted, total = found[:, 1] - found[:, 0], summed[:, 1] - summed[:, 0]
        return (counted * centre - total) * scale

    return gradient
