"""Two values of an axis, run by run and as differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stackpop.analysis import WINDOW, compare, run_values, select
from stackpop.analysis.selection import dim_of
from stackpop.errors import StackpopError, explain
from stackpop.figures import style
from stackpop.figures.parts import SEED, check_done, setting_dims, settings_of, whole, word

MOST_ROWS = 40
_POOLED = "all"


def comparison(
    results: xr.Dataset,
    over: str,
    variable: str = "leader_return",
    *,
    window: int = WINDOW,
    where: Mapping[str, Any] | None = None,
) -> Any:
    """The first two values of an axis: left, a point a pair of runs that differ in nothing else; right, differences.

    Points lie on the diagonal where the axis makes no difference, and below it where its first value earns more. The
    differences are means over seeds of first minus second, with 95 % bootstrap intervals: a row for each setting of the
    other axes, and one pooled over them. Arguments, errors: as of `stackpop.analysis.compare`; `where` chooses which
    two values, where the axis has more.
    """
    check_done(whole(results))
    dim = dim_of(results, over, "over")
    part = select(results, where or {})
    if dim in part.dims and part.sizes[dim] > 2:
        part = part.isel({dim: [0, 1]})
    runs = run_values(part, variable, window)
    found, pooled = (compare(runs, over, variable, pooled=each).isel(pair=0) for each in (False, True))
    runs = runs if SEED in runs.dims else runs.expand_dims(SEED)
    left, right = (word(dim, found[side].item()) for side in ("left", "right"))
    kept = runs.isel({dim: 0}, drop=True)
    kept.attrs = results.attrs
    name = style.label_of(part[variable]) if variable in part else variable.replace("_", " ")
    settings = settings_of(kept, setting_dims(kept), 10_000)
    pairs = _pairs(runs[variable], dim, settings, [f"{name}, {left}", f"{name}, {right}"])
    if len(settings) > MOST_ROWS:
        expected, got = f"at most {MOST_ROWS} settings beside {over} and seed", f"{len(settings):,}"
        remedy = "choose some with `--where AXIS=VALUE`, or with `where`"
        raise StackpopError(explain("results", expected=expected, got=got, remedy=remedy))
    rows = [found.isel(setting.at) for setting in settings]
    names, colours = [setting.title for setting in settings], [style.game_colour(setting.game) for setting in settings]
    if len(settings) > 1:
        rows, names, colours = [*rows, pooled], [*names, _POOLED], [*colours, style.INK]
    forest = _forest(rows, names, colours, f"difference of {name}")
    title = style.title_of(results, f"{name}, {left} against {right}, {int(pooled.pairs):,} pairs of runs")
    return style.multiples([pairs, forest], title, columns=2, panel=_HALF, gap=0.45)


_HALF = {"width": 460, "height": 400}


def _pairs(values: xr.DataArray, dim: str, settings: list[Any], axes: list[str]) -> Any:
    first, second = values.isel({dim: 0}, drop=True), values.isel({dim: 1}, drop=True)
    known = values.values[np.isfinite(values.values)]
    ends = [float(known.min()), float(known.max())]
    parts = [style.line(ends, ends, axes, style.PALE, width=1.5)]
    for setting in settings:
        x, y = (side.isel(setting.at).values.ravel() for side in (first, second))
        both = np.isfinite(x) & np.isfinite(y)
        if both.any():
            parts.append(style.points(x[both], y[both], axes, style.game_colour(setting.game), size=6, alpha=0.7))
    room = style.limits(known)
    return style.overlay(parts, "runs, pair by pair", xlim=room, ylim=room, size=_HALF)


def _forest(rows: list[xr.Dataset], names: list[str], colours: list[str], x: str) -> Any:
    axes = [x, "setting"]
    parts = [style.line([0, 0], [-0.7, len(rows) - 0.3], axes, style.PALE, width=1.5)]
    for place, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        low, high, mean = float(row.low), float(row.high), float(row.difference)
        if np.isfinite(low):
            parts.append(style.bars([place], [low], [high], axes, colour))
        if np.isfinite(mean):
            parts.append(style.points([mean], [place], axes, colour, size=8, edge=style.INK))
    reach = style.limits([0.0, *(float(row[name]) for row in rows for name in ("low", "high", "difference"))])
    return style.overlay(
        parts, "first minus second, mean with 95 % interval", yticks=list(enumerate(names)), invert_yaxis=True,
        xlim=reach, ylim=(-0.7, len(rows) - 0.3), ylabel="", size=_HALF,
    )  # fmt: skip
