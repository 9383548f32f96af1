"""Curves over updates: what leaders earn, and how much followers still lose while they are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.analysis import bootstrap_interval
from stackpop.figures import style
from stackpop.figures.parts import (
    MOST_PANELS,
    SEED,
    Setting,
    counted,
    drawn_updates,
    nothing,
    setting_dims,
    settings_of,
    whole,
)
from stackpop.store import Status

MOST_BOOTSTRAPPED = 100  # runs; of more the interval of the mean is that of the normal distribution, which is quick
EXACT = {
    "equilibrium_pure": ("pure", "solid", 5.0, style.PALE),
    "equilibrium_resample": ("protocol", "dashed", 1.6, style.INK),
    "equilibrium_behavioural": ("behavioural", "dotted", 1.6, style.ACCENT),
}
RESAMPLE = "equilibrium_resample"


def learning_curves(results: xr.Dataset, variable: str = "leader_return") -> Any:
    """Small multiples, one panel a setting: what leaders earn over updates, beside the exact values of the game.

    The line in the game's colour is the mean over seeds of the stochastic leader, with its 95 % interval (bootstrap, of
    more than 100 seeds that of the normal distribution); dash-dotted is the mean of the greedy leader. The exact values
    are lines as well: the pure equilibrium wide and grey, the optimum of the published protocol dashed, behavioural
    commitment dotted. Where there are more than 24 settings, the panels are those of the matrices, and show the median
    over all runs with their middle half and 90 %.

    variable: another curve of the leader along `iteration`; other than returns, it has no exact values beside it.

    Raises:
        StackpopError: no run is done, or the results lack the curves.
    """
    greedy = f"{variable}_greedy"
    names = [variable, *([greedy] if greedy in results else [])]
    results = whole(results, *names)
    dims = setting_dims(results)
    pooled = [] if np.prod([results.sizes[dim] for dim in dims]) <= MOST_PANELS else [d for d in dims if d != "matrix"]
    settings = settings_of(results, [dim for dim in dims if dim not in pooled])
    curves = _drawn(results, names, "iteration").where(results.status == Status.DONE).load()
    exact = _exact(results) if variable == "leader_return" else {}
    if not np.isfinite(curves[variable]).any():
        raise nothing(f"a number in {variable!r}", "none in any run that is done", "draw another variable")
    panels = [_panel(curves, names, exact, setting, pooled, first=not k) for k, setting in enumerate(settings)]
    how = "mean over seeds, 95 % interval"
    if pooled:
        how = f"median over all runs ({', '.join([*pooled, SEED])}), their middle half and 90 %"
    title = style.title_of(results, f"{results[variable].attrs.get('long_name', variable)!s}, {how}")
    lines = max(len(_title_words(setting)) for setting in settings)
    return style.multiples(panels, title, title_lines=lines)


def follower_regret(followers: xr.Dataset, variable: str = "follower_regret_worst") -> Any:
    """Small multiples, one panel a setting: what followers lose during pretraining, mean over seeds with interval.

    followers: the group `followers` of a store. A follower that stopped early keeps the regret that it stopped with,
    for it is frozen. variable: `follower_regret_worst` or `follower_regret_sum`.

    Raises:
        StackpopError: no follower is trained, or their regret is not known.
    """
    followers = whole(followers, variable)
    settings = settings_of(followers)
    dim = "follower_iteration"
    curves = followers[[variable]].where(followers.status == Status.DONE).load()
    curves[variable] = _kept(curves[variable], dim)
    curves = _drawn(curves, [variable], dim)
    if not np.isfinite(curves[variable]).any():
        remedy = "it is missing where best responses are too many to find"
        raise nothing("a known regret of the followers", "none", remedy)
    panels = [_panel(curves, [variable], {}, setting, [], first=not k) for k, setting in enumerate(settings)]
    what = f"{followers[variable].attrs.get('long_name', variable)} during pretraining, mean over seeds, 95 % interval"
    lines = max(len(_title_words(setting)) for setting in settings)
    return style.multiples(panels, style.title_of(followers, what), title_lines=lines)


def interval_of_mean(values: xr.DataArray) -> NDArray[np.float64]:
    """The 95 % interval of the mean over seeds, [bound, ...]; NaN for fewer than two."""
    runs = values.notnull().sum(SEED)
    if values.sizes[SEED] <= MOST_BOOTSTRAPPED:
        found: NDArray[np.float64] = bootstrap_interval(values).transpose("bound", ...).values
        return found
    spread = 1.96 * values.std(SEED, ddof=1) / np.sqrt(runs)
    mean = values.mean(SEED)
    return np.stack([(mean - spread).values, (mean + spread).values])


def _drawn(results: xr.Dataset, names: list[str], dim: str) -> xr.Dataset:
    chosen: xr.Dataset = results[names].isel({dim: drawn_updates(results.sizes[dim])}).reset_coords(drop=True)
    return chosen


def _exact(results: xr.Dataset) -> dict[str, xr.DataArray]:
    return {name: results[name].load() for name in EXACT if name in results}


def _panel(
    curves: xr.Dataset,
    names: list[str],
    exact: dict[str, xr.DataArray],
    setting: Setting,
    pooled: list[str],
    *,
    first: bool,
) -> Any:
    """One setting's panel."""
    part = curves.isel(setting.at)
    main = part[names[0]]
    runs = [*pooled, SEED]
    (dim,) = (str(d) for d in main.dims if d not in runs)
    updates = part[dim].values
    present = main.notnull()
    legend = "bottom_right" if first and len(names) > 1 else None
    some = present.any(runs).values
    if not some.any():
        return _empty(setting)
    dims = [style.label_of(part[dim]), style.label_of(main)]
    colour = style.game_colour(setting.game)
    x = updates[some]
    parts = []
    for name, values in exact.items():
        parts += _exact_line(name, values, setting, x, dims)
    main = main.isel({dim: some})
    parts += _pooled(main, x, dims, colour, runs) if pooled else _mean(main, x, dims, colour)
    for name in names[1:]:
        other = part[name].isel({dim: some})
        middle = other.median(runs) if pooled else other.mean(SEED)
        parts.append(style.line(x, middle.values, dims, style.INK, dash="dotdash", width=1.0, label="greedy"))
    count = int(present.any(dim).sum())
    title = counted(_title(setting), count, int(np.prod([part.sizes[d] for d in runs])))
    return style.overlay(parts, title, legend=legend, logx=True, xticks=style.update_ticks(int(x[0]), int(x[-1])))


def _mean(values: xr.DataArray, x: Any, dims: list[str], colour: str) -> list[Any]:
    low, high = interval_of_mean(values)
    known = np.isfinite(low)
    parts = [style.band(x[known], low[known], high[known], dims, colour)] if known.any() else []
    return [*parts, style.line(x, values.mean(SEED).values, dims, colour, width=2.2, label="stochastic")]


def _pooled(values: xr.DataArray, x: Any, dims: list[str], colour: str, runs: list[str]) -> list[Any]:
    quantiles = values.quantile([0.05, 0.25, 0.5, 0.75, 0.95], runs).transpose("quantile", ...).values
    return [
        style.band(x, quantiles[0], quantiles[4], dims, colour, 0.15),
        style.band(x, quantiles[1], quantiles[3], dims, colour, 0.3),
        style.line(x, quantiles[2], dims, colour, width=2.2, label="stochastic"),
    ]


def _exact_line(name: str, values: xr.DataArray, setting: Setting, x: Any, dims: list[str]) -> list[Any]:
    """An exact value, which is one number a panel unless what it depends on is pooled; then there is no line."""
    chosen = values.isel({dim: k for dim, k in setting.at.items() if dim in values.dims})
    numbers = np.unique(chosen.values[np.isfinite(chosen.values)])
    if len(numbers) != 1:
        return []
    label, dash, width, colour = EXACT[name]
    ends = [x[0], max(x[-1], x[0] + 1)]
    return [style.line(ends, [numbers[0]] * 2, dims, colour, dash=dash, width=width, label=label)]


def _kept(values: xr.DataArray, dim: str) -> xr.DataArray:
    """Curves that go on with their last value."""
    axis = values.get_axis_num(dim)
    steps = np.arange(values.sizes[dim]).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    last = np.where(np.isfinite(values.values), steps, 0)
    found: xr.DataArray = values.copy(data=np.take_along_axis(values.values, np.maximum.accumulate(last, axis), axis))
    return found


def _title_words(setting: Setting) -> list[str]:
    return list(setting.words) or [setting.game]


def _title(setting: Setting) -> str:
    return "\n".join(_title_words(setting))


def _empty(setting: Setting) -> Any:
    """A panel that says that there is nothing, so that the others stay where they are."""
    dims = ["leader update", "nothing done"]
    return style.overlay([style.texts([1.0], [0.0], ["no run is done"], dims)], _title(setting))
