"""What a search tried, and how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from stackpop.analysis import WINDOW, best_trials
from stackpop.errors import StackpopError, explain
from stackpop.figures import style

DECADE = 10  # values that span more than this are drawn on a log scale
_HALF = {"width": 430, "height": 330}


def searched_values(
    results: xr.Dataset,
    objective: str = "leader_return_sampled",
    window: int = WINDOW,
    reference: Mapping[str, float] | None = None,
) -> Any:
    """What a search found, one panel a searched setting: each trial's objective against the value that it tried.

    Points are means over all runs of a trial with the 95 % bootstrap interval over seeds, the orange star the best
    trial, dashed what there is to compare it with. Trials of which a run is missing are left out.

    objective, window: as of `best_trials`. reference: searched setting, named as the coordinates are -> its value.

    Raises:
        StackpopError: the results are not those of a search, or no trial is complete.
    """
    if "trial" not in results.status.dims:
        got, remedy = ", ".join(map(str, results.status.dims)), "draw `learning_curves` of them"
        raise StackpopError(explain("results", expected="the dim trial", got=got or "none", remedy=remedy))
    trials = best_trials(results, objective, window)
    trials = trials.isel(trial=trials.objective.notnull().values)
    if not trials.sizes["trial"]:
        remedy = "`stackpop status STORE` tells how far the runs are"
        raise StackpopError(explain("results", expected="a trial that is done", got="none", remedy=remedy))
    searched = [str(name) for name, values in trials.coords.items() if values.dims == ("trial",) and name != "trial"]
    label = style.label_of(results[objective])
    panels = [_panel(trials, name, label, (reference or {}).get(name)) for name in searched]
    title = style.title_of(results, f"{label} of each trial, mean over its runs, 95 % interval")
    return style.multiples(panels, title, columns=2, panel=_HALF)


def _panel(trials: xr.Dataset, name: str, label: str, reference: float | None) -> Any:
    tried, means = trials[name].values, trials.objective.values
    below, above = means - trials.low.values, trials.high.values - means
    known = np.isfinite(below)  # one seed gives no interval
    log = bool(tried.min() > 0 and tried.max() > DECADE * tried.min())
    axes = [name.replace("_", ".", 1), label]
    errors = hv.ErrorBars(
        (tried[known], means[known], below[known], above[known]), axes[0], [axes[1], "below", "above"]
    )
    parts = [
        style.part(
            errors, bokeh={"line_color": style.PLAIN, "alpha": 0.6}, matplotlib={"edgecolor": style.PLAIN, "alpha": 0.6}
        ),
        style.points(tried, means, axes, style.PLAIN, size=7),
        style.points(tried[:1], means[:1], axes, style.ACCENT, marker="star", size=18),
    ]
    if reference is not None:
        line = hv.VLine(float(reference))
        parts.append(style.part(
            line, bokeh={"color": style.INK, "line_width": 1, "line_dash": "dashed"},
            matplotlib={"color": style.INK, "linewidth": 1, "linestyle": "--"},
        ))  # fmt: skip
    return style.overlay(parts, f"best: {axes[0]} = {tried[0]:.4g}", logx=log, size=_HALF)
