"""Figures of a results dataset: each function returns a HoloViews object, `save` writes one to a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import holoviews as hv
import hvplot.xarray  # adds .hvplot to xarray objects
import numpy as np
import xarray as xr

from stackpop.analysis import bootstrap_interval
from stackpop.errors import StackpopError, explain

COLUMNS = 4
POINTS = 60  # along the iteration axis, evenly on its log scale: leaders learn most of what they learn early
# From the Okabe-Ito palette, which stays apart for colour-blind readers.
RETURN_COLOUR, GREEDY_COLOUR, EXACT_COLOUR = "#0072B2", "#E69F00", "#000000"


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
    return hv.Layout(panels).cols(COLUMNS).opts(fig_inches=2.6, vspace=0.4, hspace=0.3, sublabel_format="")


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


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG or SVG, by the file's ending; its folder is made if there is none."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    hv.save(figure, Path(path), backend="matplotlib", dpi=72)
