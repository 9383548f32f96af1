"""Figures of a results dataset: each function returns a HoloViews object, `save` writes one to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import holoviews as hv
import hvplot.xarray  # adds .hvplot to xarray objects
import numpy as np
import xarray as xr

from stackpop.analysis import WINDOW, best_trials, bootstrap_interval
from stackpop.errors import StackpopError, explain

COLUMNS = 4
POINTS = 60  # along the iteration axis, evenly on its log scale: leaders learn most of what they learn early
# From the Okabe-Ito palette, which stays apart for colour-blind readers.
RETURN_COLOUR, GREEDY_COLOUR, EXACT_COLOUR = "#0072B2", "#E69F00", "#000000"
DECADE = 10  # values that span more than this are drawn on a log scale


def learning_curves(results: xr.Dataset) -> Any:
    """Small multiples, one panel a matrix: leader return over updates beside the pure equilibrium.

    Blue is the mean over seeds of the stochastic leader with its 95 % bootstrap interval, orange that of
    the greedy leader, dashed the exact equilibrium value.

    Raises:
        StackpopError: the results have other dims than matrix, seed and iteration.
    """
    hvplot.extension("matplotlib")
    dims = [str(dim) for dim in results.leader_return.dims]
    if sorted(dims) != ["iteration", "matrix", "seed"]:
        remedy = "choose one value of another dim with .sel, add a missing one with .expand_dims"
        expected = "the dims matrix, seed, iteration"
        raise StackpopError(explain("results", expected=expected, got=", ".join(dims), remedy=remedy))
    updates = np.unique(np.geomspace(1, results.sizes["iteration"], POINTS).round().astype(int))
    curves = results[["leader_return", "leader_return_greedy"]].sel(iteration=updates).load()
    panels = [_panel(curves.sel(matrix=matrix)) for matrix in results.matrix.values]
    lines = max(str(label).count("\n") for label in results.matrix.values)
    vspace = 0.4 + 0.25 * max(0, lines - 1)  # or a title of three lines would cover the axis above it
    return hv.Layout(panels).cols(COLUMNS).opts(fig_inches=2.6, vspace=vspace, hspace=0.3, sublabel_format="")


def _panel(curves: xr.Dataset) -> Any:
    axes = {"x": "iteration", "logx": True, "xlabel": "update", "ylabel": "leader return"}
    low, high = bootstrap_interval(curves.leader_return).transpose("bound", "iteration").values
    parts = [
        hv.Area((curves.iteration.values, low, high), vdims=["low", "high"]).opts(color=RETURN_COLOUR, alpha=0.3),
        curves.leader_return_greedy.mean("seed").hvplot.line(color=GREEDY_COLOUR, **axes),
        curves.leader_return.mean("seed").hvplot.line(color=RETURN_COLOUR, **axes),
        hv.HLine(float(curves.equilibrium_pure)).opts(color=EXACT_COLOUR, linewidth=1, linestyle="--"),
    ]
    return hv.Overlay(parts).opts(title=str(curves.matrix.item()), logx=True, aspect=1.4, fontscale=0.9)


def searched_values(
    results: xr.Dataset,
    objective: str = "leader_return_sampled",
    window: int = WINDOW,
    reference: Mapping[str, float] | None = None,
) -> Any:
    """What a search found, one panel a searched setting: each trial's objective against the value that it tried.

    Blue is the mean over all runs of a trial with its 95 % bootstrap interval over seeds, the orange star the best
    trial, dashed what there is to compare it with. Trials of which a run is missing are left out.

    objective, window: as of `best_trials`. reference: searched setting, named as the coordinates are -> its value.

    Raises:
        StackpopError: the results are not those of a search, or no trial is complete.
    """
    hvplot.extension("matplotlib")
    if "trial" not in results.status.dims:
        got, remedy = ", ".join(map(str, results.status.dims)), "draw `learning_curves` of them"
        raise StackpopError(explain("results", expected="the dim trial", got=got, remedy=remedy))
    trials = best_trials(results, objective, window)
    trials = trials.isel(trial=trials.objective.notnull().values)
    if not trials.sizes["trial"]:
        remedy = "`stackpop status STORE` tells how far the runs are"
        raise StackpopError(explain("results", expected="a trial that is done", got="none", remedy=remedy))
    searched = [str(name) for name, values in trials.coords.items() if values.dims == ("trial",) and name != "trial"]
    panels = [_trials_panel(trials, name, objective, (reference or {}).get(name)) for name in searched]
    return hv.Layout(panels).cols(2).opts(fig_inches=5, vspace=0.4, hspace=0.3, sublabel_format="")


def _trials_panel(trials: xr.Dataset, name: str, objective: str, reference: float | None) -> Any:
    tried, means = trials[name].values, trials.objective.values
    below, above = means - trials.low.values, trials.high.values - means
    known = np.isfinite(below)  # one seed gives no interval
    log = bool(tried.min() > 0 and tried.max() > DECADE * tried.min())
    label = objective.replace("_", " ")
    parts = [
        hv.ErrorBars((tried[known], means[known], below[known], above[known])).opts(edgecolor=RETURN_COLOUR, alpha=0.5),
        hv.Scatter((tried, means), name, label).opts(color=RETURN_COLOUR, s=30),
        hv.Scatter((tried[:1], means[:1]), name, label).opts(color=GREEDY_COLOUR, marker="*", s=250),
    ]
    if reference is not None:
        parts.append(hv.VLine(float(reference)).opts(color=EXACT_COLOUR, linewidth=1, linestyle="--"))
    title = f"best: {name} = {tried[0]:.4g}"
    shown = hv.Overlay([part.opts(aspect=1.6) for part in parts])
    return shown.opts(title=title, logx=log, xlabel=name, ylabel=label, aspect=1.6)


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG or SVG, by the file's ending; its folder is made if there is none."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    hv.save(figure, Path(path), backend="matplotlib", dpi=72)
