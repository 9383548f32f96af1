"""How soon leaders reach the equilibrium, and how many never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stackpop.analysis import TOLERANCE, WINDOW, convergence_time
from stackpop.figures import style
from stackpop.figures.parts import SEED, Setting, setting_dims, settings_of, whole

MOST_ROWS = 60
DODGE = 0.28  # how far points of a row stray from its middle, so that equal ones are seen


def convergence_times(
    results: xr.Dataset, followers: xr.Dataset | None = None, tolerance: float = TOLERANCE, window: int = WINDOW
) -> Any:
    """When each run's gap came within the tolerance to stay: a row a setting, a point a run, a bar at the median.

    The times are environment steps, on a log scale; with the group `followers`, those of pretraining included. On the
    right stands how many of the runs with a known gap converged; those that never did have no point, and count in the
    median as later than all others. Where there are more than 60 settings, rows are those of the matrices.

    Raises:
        StackpopError: no run is done, or the results lack their curves.
    """
    results = whole(results, "equilibrium_gap", "env_steps")
    dims = setting_dims(results)
    pooled = [] if np.prod([results.sizes[dim] for dim in dims]) <= MOST_ROWS else [d for d in dims if d != "matrix"]
    settings = settings_of(results, [dim for dim in dims if dim not in pooled], MOST_ROWS)
    times = convergence_time(results, tolerance, followers, window).load()
    x = "environment steps" + (", pretraining included" if followers is not None else "")
    axes = [x, "setting"]
    parts, counts = [], []
    for row, setting in enumerate(settings):
        part = times.isel(setting.at)
        steps, known = part.env_steps.values.ravel(), int(part.known.sum())
        reached = np.sort(steps[np.isfinite(steps)])
        counts.append(f"{len(reached):,}/{known:,}" if known else "-")
        parts += _row(reached, known, row, setting, axes)
    every = times.env_steps.values[np.isfinite(times.env_steps.values)]
    least, most = (float(every.min()), float(every.max())) if every.size else (1.0, 10.0)
    parts.append(style.points([least, most], [0, 0], axes, style.INK, alpha=0.0))  # a log axis needs something on it
    right = most * (most / least) ** 0.12 * 1.15
    places = np.arange(len(settings))
    parts.append(style.texts([right] * (len(settings) + 1), [-0.8, *places], ["converged", *counts], axes))
    where = f", {', '.join(pooled)} and {SEED} pooled" if pooled else ""
    title = style.title_of(results, f"steps until the gap stays within {tolerance:.0%} of the span of returns{where}")
    return style.overlay(
        parts,
        title,
        size={"width": 760, "height": min(1400, 120 + 26 * len(settings))},
        logx=True,
        yticks=[(row, setting.title) for row, setting in enumerate(settings)],
        xlim=(least * 0.9, right * 1.3),
        ylim=(-1.3, len(settings) - 0.3),
        ylabel="",
        xticks=style.step_ticks(least * 0.9, most * 1.1),
        invert_yaxis=True,
    )


def _row(reached: np.ndarray[Any, Any], known: int, row: int, setting: Setting, axes: list[str]) -> list[Any]:
    """The runs of a setting that converged, in order, and the median of all."""
    if not len(reached):
        return []
    stray = DODGE * np.where(np.arange(len(reached)) % 2, 1, -1) * (np.arange(len(reached)) % 7) / 6
    alpha = 0.9 if len(reached) <= 30 else 0.35
    colour = style.game_colour(setting.game)
    parts = [style.points(reached, row + stray, axes, colour, size=6, alpha=alpha)]
    middle = (known - 1) / 2
    if middle <= len(reached) - 1:
        median = float((reached[int(np.floor(middle))] + reached[int(np.ceil(middle))]) / 2)
        parts.append(style.points([median], [row], axes, style.INK, marker="dash", size=16))
    return parts
