"""Whether one setting does better than another: runs that differ in nothing else are compared pair by pair.

Seeds are the unit. What is pooled over other axes is first averaged for each seed, for two games played from one seed
are no two experiments. The intervals are bootstrap percentiles, too narrow for few seeds: measured on normal values,
one that says 95 % covers the mean in 86 % of cases with five seeds, in 90 % with ten, in 94 % with twenty.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stackpop.analysis.efficiency import steps_to_equilibrium
from stackpop.analysis.finals import RESOLUTION, WINDOW, converged, final
from stackpop.analysis.intervals import SEED as SEED  # read from here, too
from stackpop.analysis.intervals import bootstrap_interval
from stackpop.analysis.selection import dim_of, select
from stackpop.errors import StackpopError, did_you_mean, explain
from stackpop.store import Status

UPDATE_DIMS = ("iteration", "post_iteration")
CONVERGED, STEPS = DERIVED = "converged", "steps_to_equilibrium"


def compare(
    results: xr.Dataset,
    over: str,
    variable: str = "leader_return",
    *,
    window: int = WINDOW,
    where: Mapping[str, Any] | None = None,
    pooled: bool = False,
) -> xr.Dataset:
    """The first value of an axis against each other one, paired over everything else.

    over: a swept axis, `leader.lr` or `leader_lr`. variable: one number a run, or a curve along `iteration` or
    `post_iteration`, of which each run's last `window` values are averaged; or `converged`, or `steps_to_equilibrium`
    (of results `with_pretraining`; pairs of which one run has not converged are left out). where: axis -> a label, or a
    list of labels, to compare these runs only. pooled: over the other axes; otherwise a row for each combination.

    Result: dim `pair` with the coordinates `left` and `right` (labels), then the other swept dims without `seed`.
    Variables: `left_mean`, `right_mean`, `difference` (mean of left minus right), `low` and `high` (its 95 %
    bootstrap interval over seeds, NaN for fewer than two), `excludes_zero`, `pairs`, and `missing` (pairs left out,
    for one of the two is not done). Each row is an answer of its own: among many rows some exclude 0 by chance.

    Raises:
        StackpopError: an unknown axis, label or variable; an axis of one value; no pair of which both runs are done.
    """
    dim = dim_of(results, over, "over")
    part = select(results, where or {})
    if dim == SEED:
        expected = "an axis other than seed"
        raise StackpopError(explain("over", expected=expected, got="seed", remedy="seeds are what is averaged over"))
    if part.sizes.get(dim, 1) < 2:
        remedy = "sweep another value, or leave it free"
        raise StackpopError(explain("over", expected=f"two values of {over}", got="one", remedy=remedy))
    values = run_values(part, variable, window)[variable]
    labels = values[dim].values
    left = values.isel({dim: [0] * (len(labels) - 1)}).drop_vars(dim).rename({dim: "pair"})
    right = values.isel({dim: slice(1, None)}).drop_vars(dim).rename({dim: "pair"})
    left, right = (side.transpose("pair", ...) for side in (left, right))
    keep = ["pair"] if pooled else [str(d) for d in left.dims if d != SEED]
    found = paired(left, right, keep)
    if not found.pairs.any():
        remedy = "`stackpop status STORE` tells how far the runs are"
        raise StackpopError(explain("runs", expected="a pair that is done", got="none", remedy=remedy))
    return found.assign_coords(left=("pair", labels[[0] * (len(labels) - 1)]), right=("pair", labels[1:]))


def paired(left: xr.DataArray, right: xr.DataArray, keep: Collection[Hashable] = ()) -> xr.Dataset:
    """The mean difference of two sides, dims that only one has being repeated, over all dims but `keep`.

    left, right: NaN where a run is not done. Result: as of `compare`, over the dims of `keep`.
    """
    left, right = xr.broadcast(left, right)
    difference = left - right
    both = np.isfinite(difference)
    over: list[Any] = [dim for dim in difference.dims if dim not in keep]
    settings = [dim for dim in over if dim != SEED]
    per_seed = xr.Dataset({"left_mean": left, "right_mean": right, "difference": difference}).where(both)
    per_seed = per_seed.mean(settings) if settings else per_seed
    if SEED in over:
        bounds, found = bootstrap_interval(per_seed.difference), per_seed.mean(SEED)
    else:
        bounds, found = (per_seed.difference * np.nan).expand_dims(bound=["low", "high"]), per_seed
    noise = RESOLUTION * (abs(left) + abs(right)).where(both).max(over)
    bounds = bounds.where(~(abs(bounds) <= noise), 0.0)  # or rounding alone would be a sure difference
    low, high = bounds.sel(bound="low", drop=True), bounds.sel(bound="high", drop=True)
    return found.assign(
        low=low, high=high, excludes_zero=(low > 0) | (high < 0), pairs=both.sum(over), missing=(~both).sum(over)
    )


def run_values(results: xr.Dataset, variable: str, window: int = WINDOW) -> xr.Dataset:
    """One number a run (`run_value`) beside the runs' `status`, in memory; `compare` takes it in place of results."""
    values = run_value(results, variable, window=window)
    return xr.Dataset({variable: values, "status": results.status.reset_coords(drop=True)}).load()


def run_value(results: xr.Dataset, variable: str, at: int | str = "end", window: int = WINDOW) -> xr.DataArray:
    """One number a run over all swept dims, NaN where the run is not done; lazy where the results are.

    at: which of the values along updates, if there are any: the mean of the `window` last (`end`), the `last`, the
        `first`, or one by its number.

    Raises:
        StackpopError: no such variable, or one that is neither one number a run nor a curve.
    """
    done = results.status == Status.DONE
    if variable == CONVERGED and variable not in results:
        values = converged(results, window).astype(float)
    elif variable == STEPS and variable not in results:
        values = steps_to_equilibrium(results, window).astype(float)
    else:
        _check_variable(results, variable)
        values = results[variable].astype(float)  # so that the mean of equal float32 values is that value
        if results[variable].dtype.kind == "i":
            values = values.where(values >= 0)  # counts of what did not take place are -1
        for dim in set(UPDATE_DIMS) & set(values.dims):
            values = _at(values, str(dim), at, window)
    return values.where(done).transpose(*done.dims).reset_coords(drop=True)


def _at(curve: xr.DataArray, dim: str, at: int | str, window: int) -> xr.DataArray:
    if not curve.sizes[dim]:
        return curve.sum(dim) * np.nan
    if at in ("end", "last"):
        return final(curve, window if at == "end" else 1, dim)
    return curve.reindex({dim: [1 if at == "first" else at]}).isel({dim: 0})  # missing beyond the last update


def _check_variable(results: xr.Dataset, name: str) -> None:
    allowed = {*results.status.dims}
    known = [
        str(key)
        for key, values in results.variables.items()
        if key not in results.dims and key != "status" and values.dtype.kind in "biuf"
        and any(set(values.dims) <= allowed | extra for extra in ({"iteration"}, {"post_iteration"}))
    ]  # fmt: skip
    if name in known:
        return
    got = f"{name!r} over {', '.join(map(str, results[name].dims))}" if name in results else repr(name)
    remedy = did_you_mean(name, {*known, *DERIVED})
    raise StackpopError(explain("variable", expected="one of one number a run or update", got=got, remedy=remedy))
