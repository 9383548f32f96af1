"""How soon leaders come close: convergence, the area under the gap, sample efficiency.

Everything here is one number a run and lazy where the results are: a block of curves is read, reduced and let go. Runs
that are not done, and those whose game has no known equilibrium, are missing (NaN), and so is what never happened; the
variable `known` tells the two apart.

*Environment steps* are those of `env_steps` in the store: the leader's training episodes, its answers to queries and
the games that a learning follower plays in them included; evaluation and post-training are not counted. Where the
group `followers` is handed over, the steps of the follower's own pretraining, up to its stop, come on top: all of
them for each run, although runs may share a follower.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from stackpop.analysis.curves import need, normalised
from stackpop.analysis.finals import TOLERANCE, WINDOW, converged, within
from stackpop.analysis.intervals import SEED
from stackpop.errors import StackpopError, explain
from stackpop.spec import TRAINED_ORACLES
from stackpop.store import Status

NEVER = np.iinfo(np.int64).max
UPDATES = "iteration"
CURVES = ("status", "equilibrium_gap", "env_steps")
EXACT = ("equilibrium_pure", "equilibrium_resample", "leader_return_min", "leader_return_max")


def convergence_time(
    results: xr.Dataset, tolerance: float = TOLERANCE, followers: xr.Dataset | None = None, window: int = 1
) -> xr.Dataset:
    """The first update from which on each run's gap stays within a tolerance to the end of the run.

    window: with more than 1, the gap is within it at that update, and from there on its mean over any so many updates
    is: single updates are noisy where followers learn in every episode.

    tolerance: a share of the span of returns that the game allows. Within it is what `converged` calls so: a leader
    that earns more than its protocol's optimum is not. A gap that is no number is not within either. Where updates
    were left out of the results, only those that are there are looked at. A noisy gap that happens to end within the
    tolerance converged at one of the last updates: `share_converged`, which averages the end, says how much that means.
    followers: the group `followers`, for steps that include its pretraining (the module's docstring says what counts).

    Result, over the swept dims: `updates` and `env_steps` (made by then), missing (NaN) where the run never
    converged; `known` (the run is done and has a gap).

    Raises:
        StackpopError: the results lack a variable, or the followers are not theirs.
    """
    _need_curves(results, EXACT)
    gap, made = results.equilibrium_gap, results.env_steps >= 0
    inside, ahead, asked = within(results, gap, tolerance), gap, made
    if (length := min(window, gap.sizes[UPDATES])) > 1:  # each update and those after it, as long as there are enough
        ahead = _mean_ahead(gap, length)
        asked = made.shift({UPDATES: 1 - length}, fill_value=False)
    outside = asked & ~within(results, ahead, tolerance)
    last_outside = results[UPDATES].where(outside, 0).max(UPDATES)
    return _first(results, made & inside & (results[UPDATES] > last_outside), followers)


def steps_to_share(
    results: xr.Dataset,
    share: float = 0.95,
    floor: float | xr.DataArray | None = None,
    followers: xr.Dataset | None = None,
) -> xr.Dataset:
    """Sample efficiency: the first update after which a leader earns a share of the equilibrium value.

    share: of the way from `floor` to the pure equilibrium, see `normalised`: by default from the least return that the
    game can give, for an equilibrium of 0 or less has no shares. A return may fall again later; see
    `convergence_time` for one that stays. followers, result, errors: as of `convergence_time`.
    """
    _need_curves(results, ["leader_return"])
    score = normalised(results, "leader_return", floor)
    return _first(results, (results.env_steps >= 0) & (score >= share), followers)


def share_converged(results: xr.Dataset, window: int = WINDOW, tolerance: float = TOLERANCE) -> xr.Dataset:
    """The share of seeds whose mean gap over the last `window` updates is within the tolerance (see `converged`).

    Result, over the swept dims without `seed`: `share`, `low` and `high` (its 95 % Wilson score interval, which also
    tells how little five of five means), `converged`, `runs` (done, with a gap) and `missing` (all others), counts.
    Missing (NaN) where there is no run.

    Raises:
        StackpopError: the results lack a variable.
    """
    _need_curves(results, EXACT)
    known, close = _known(results), converged(results, window, tolerance)
    close, known = (each if SEED in each.dims else each.expand_dims(SEED) for each in (close & known, known))
    successes, runs = close.sum(SEED), known.sum(SEED)
    bounds = xr.apply_ufunc(
        _wilson,
        successes,
        runs,
        output_core_dims=[["bound"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": {"bound": 2}},
    )
    found = {"share": successes / runs.where(runs > 0), "low": bounds.isel(bound=0), "high": bounds.isel(bound=1)}
    counts = {"converged": successes, "runs": runs, "missing": (~known).sum(SEED)}
    return xr.Dataset({**found, **counts}).reset_coords(drop=True)


def gap_area(results: xr.Dataset, *, clip: bool = False) -> xr.Dataset:
    """The area under each run's gap: what learning cost against playing the equilibrium from the start.

    The gap after an update stands for the updates, or steps, since the one before. clip: take a gap below 0 as 0; else
    what a stochastic leader earns beyond the pure equilibrium makes up for what another update lacked.

    Result, over the swept dims: `area` (payoff · update), `area_steps` (payoff · environment step, of the leader's
    training), `mean_gap` (payoff: the area an update, for runs of unlike length). Missing (NaN) where a gap is.

    Raises:
        StackpopError: the results lack a variable.
    """
    _need_curves(results)
    made, gap = results.env_steps >= 0, results.equilibrium_gap.astype(float)
    gap = (gap.clip(min=0) if clip else gap).where(results.status == Status.DONE)
    updates, steps = _since_last(results[UPDATES]), _since_last(results.env_steps)
    areas = [(gap * each).where(made, 0).sum(UPDATES, skipna=False) for each in (updates, steps)]
    length = updates.where(made, 0).sum(UPDATES)
    area, area_steps = (each.where(length > 0) for each in areas)
    return xr.Dataset({"area": area, "area_steps": area_steps, "mean_gap": area / length}).reset_coords(drop=True)


def pretraining_steps(results: xr.Dataset, followers: xr.Dataset) -> xr.DataArray:
    """Environment steps of the pretraining of each run's follower, by the labels that runs and followers share.

    followers: the group `followers` of the same store. 0 where the oracle trains none, missing (NaN) where the
    follower is not done.

    Raises:
        StackpopError: the followers have a dim that the results lack, or are none.
    """
    need(followers, ["env_steps", "status", "follower_iteration"])
    made = followers.env_steps.max("follower_iteration")
    steps = made.where((followers.status == Status.DONE) & (made >= 0)).reset_coords(drop=True)
    steps = at_runs(steps, results)
    if "follower_oracle" in results.coords:
        steps = steps.where(results.follower_oracle.isin(sorted(TRAINED_ORACLES)), 0)
    return steps


def at_runs(values: xr.DataArray, results: xr.Dataset) -> xr.DataArray:
    """What the followers hold at the labels of the runs, missing (NaN) where they have none.

    Raises:
        StackpopError: the followers depend on a dim that the results do not have, neither as a dim nor as a label.
    """
    for dim in [str(d) for d in values.dims if d in values.coords and d not in INNER_DIMS]:
        if dim not in results.coords:
            expected, remedy = f"runs with a label of {dim!r}", f"choose it with .sel({dim}=...), which keeps the label"
            raise StackpopError(explain("results", expected=expected, got="none", remedy=remedy))
        labels = np.atleast_1d(results[dim].values)
        places = values.get_index(dim).get_indexer(labels.tolist())  # positions: truth values would be taken as a mask
        found: Any = values.isel({dim: places}).assign_coords({dim: labels})
        found = found.where(xr.DataArray(places >= 0, {dim: labels}, [dim]))
        values = found if dim in results.dims else found.isel({dim: 0}, drop=True)
    return values


INNER_DIMS = frozenset(["context", "follower_state", "follower_action", "follower_iteration", "follower_parameter"])


def _need_curves(results: xr.Dataset, names: Iterable[str] = ()) -> None:
    """Refuse results without curves, or without some other variables."""
    need(results, (*CURVES, *names))
    if UPDATES not in results.equilibrium_gap.dims:
        remedy = "keep them with .sel(iteration=[...]), a list"
        raise StackpopError(explain("results", expected="curves along iteration", got="one update", remedy=remedy))


def _first(results: xr.Dataset, reached: xr.DataArray, followers: xr.Dataset | None) -> xr.Dataset:
    """The first update at which something is so, and the environment steps made by then."""
    known = _known(results)
    update = results[UPDATES].where(reached, NEVER).min(UPDATES)
    steps = results.env_steps.where(reached, NEVER).min(UPDATES)
    happened = known & (update < NEVER)
    update, steps = update.where(happened), steps.where(happened)
    if followers is not None:
        steps = steps + pretraining_steps(results, followers)
    found = xr.Dataset({"updates": update, "env_steps": steps, "known": known})
    return found.reset_coords(drop=True).transpose(*results.status.dims)


def _known(results: xr.Dataset) -> xr.DataArray:
    known: xr.DataArray = (results.status == Status.DONE) & results.equilibrium_gap.notnull().any(UPDATES)
    return known


def _mean_ahead(curve: xr.DataArray, length: int) -> xr.DataArray:
    """At each update the mean over it and those after it, `length` in all; NaN where one of them is missing.

    From running sums, for windows of xarray's own hold `length` copies of the curves.
    """
    known = abs(curve) < np.inf

    def window(sums: xr.DataArray) -> xr.DataArray:
        return sums.shift({UPDATES: 1 - length}) - sums.shift({UPDATES: 1}, fill_value=0)

    total, present = curve.astype(float).where(known, 0).cumsum(UPDATES), known.cumsum(UPDATES)
    mean: xr.DataArray = (window(total) / length).where(window(present) == length)
    return mean


def _since_last(counts: xr.DataArray) -> xr.DataArray:
    """How much a count over the updates grew at each of them."""
    return counts - counts.shift({UPDATES: 1}, fill_value=0)


def _wilson(successes: int, runs: int) -> np.ndarray:
    """95 % score interval of a share (Wilson, 1927)."""
    from scipy.stats import binomtest

    if not runs:
        return np.full(2, np.nan)
    return np.array(binomtest(int(successes), int(runs)).proportion_ci(0.95, "wilson"))
