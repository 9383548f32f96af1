"""Curves over updates, and scores that can be pooled over games. Lazy results give lazy curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xarray as xr

from stackpop.analysis.intervals import SEED, bootstrap_interval
from stackpop.errors import StackpopError, explain
from stackpop.store import Status


def curve(
    results: xr.Dataset,
    variable: str = "equilibrium_gap",
    pooled: Sequence[str] = (),
    *,
    confidence: float = 0.95,
    random_seed: int = 0,
) -> xr.Dataset:
    """A curve's mean over seeds at every update, with a pointwise bootstrap interval.

    variable: `equilibrium_gap`, `follower_regret`, or any other that has one number a run and update; of the group
    `followers`, for instance `follower_regret_worst`. pooled: dims that are averaged for each seed first; a seed of
    which a run is missing there is missing.

    Result: `value` (the mean), `low` and `high` over the other dims; `runs` and `missing` (how many seeds have a value
    there, and how many have none: runs that are not done, or that ended earlier). No interval (NaN) for fewer than two
    seeds; of few it is too narrow, see `bootstrap_interval`. Choose updates first, with `.sel(iteration=[...])`, where
    a curve needs no 500 intervals.

    Raises:
        StackpopError: the results lack the variable, or a dim that is to be pooled.
    """
    need(results, [variable, "status"])
    values = with_seeds(results[variable].where(results.status == Status.DONE))
    if values.dtype.kind == "f" and results[variable].dtype.kind == "i":
        values = values.where(values >= 0)  # counts of what did not take place are -1
    dims = [name.replace(".", "_") for name in pooled]
    for dim in dims:
        if dim not in results.status.dims or dim == SEED:
            known = ", ".join(str(d) for d in results.status.dims if d != SEED) or "none"
            raise StackpopError(explain("pooled", expected="swept dims", got=repr(dim), remedy=f"known: {known}"))
    values = values.mean(dims, skipna=False) if dims else values
    interval = bootstrap_interval(values, confidence=confidence, random_seed=random_seed)
    return xr.Dataset(
        {
            "value": values.mean(SEED),
            "low": interval.sel(bound="low", drop=True),
            "high": interval.sel(bound="high", drop=True),
            "runs": values.notnull().sum(SEED),
            "missing": values.isnull().sum(SEED),
        }
    )


def normalised(
    results: xr.Dataset, values: xr.DataArray | str = "leader_return", floor: float | xr.DataArray | None = None
) -> xr.DataArray:
    """Returns on a scale of the game: 0 is `floor`, 1 the pure equilibrium, so that games can be pooled.

    values: returns of any dims, or the name of the variable that has them. floor: a return, by default the least that
    the game can give; 0 for shares of the equilibrium value itself, which mean little where that is not positive.
    Missing (NaN) where the return or the equilibrium is, and where the equilibrium is not above the floor.

    Raises:
        StackpopError: the results lack a variable.
    """
    wanted = [values] if isinstance(values, str) else []
    need(results, ["equilibrium_pure", *([] if floor is not None else ["leader_return_min"]), *wanted])
    returns = results[values].where(results.status == Status.DONE) if isinstance(values, str) else values
    least = results.leader_return_min if floor is None else floor
    span = results.equilibrium_pure - least
    score: xr.DataArray = (returns - least) / span.where(span > 0)
    return score.rename("score")


def need(results: xr.Dataset, names: Iterable[str]) -> None:
    """Refuse results without some variables or coordinates.

    Raises:
        StackpopError: the first that is missing.
    """
    for name in names:
        if name not in results:
            remedy = "pass the whole dataset of `open_results`, or a part of it by .sel or .isel"
            raise StackpopError(explain("results", expected=f"the variable {name!r}", got="none", remedy=remedy))


def with_seeds(values: xr.DataArray) -> xr.DataArray:
    """Values with a dim `seed`, of length one if there was none."""
    return values if SEED in values.dims else values.drop_vars(SEED, errors="ignore").expand_dims(SEED)
