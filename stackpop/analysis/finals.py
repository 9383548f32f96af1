"""How close the leaders came in the end, and how surely."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stackpop.analysis.intervals import bootstrap_interval
from stackpop.store import Status

WINDOW = 50
TOLERANCE = 0.01
RESOLUTION = float(np.finfo(np.float32).eps)  # of the curves, relative


def final(curve: xr.DataArray, window: int = WINDOW, dim: str = "iteration") -> xr.DataArray:
    """Mean of a curve over each run's last `window` iterations; runs that are not done stay missing."""
    made = curve.notnull().sum(dim)
    kept: xr.DataArray = curve.where(curve[dim] > made - window)
    return kept.mean(dim)


def converged(results: xr.Dataset, window: int = WINDOW, tolerance: float = TOLERANCE) -> xr.DataArray:
    """Whether each run's final gap is within `tolerance` of the span of returns its game allows.

    Under `resample` a stochastic leader may earn more than the pure equilibrium, up to the optimum of that
    protocol; one that earns more still has a follower that does not best-respond, and has not converged.
    Runs that are not done are False.
    """
    return within(results, final(results.equilibrium_gap, window), tolerance)


def within(results: xr.Dataset, gap: xr.DataArray, tolerance: float = TOLERANCE) -> xr.DataArray:
    """Whether gaps of any dims are within `tolerance`, as `converged` means it; False where they are missing."""
    least, most = results.leader_return_min, results.leader_return_max
    slack = tolerance * (most - least) + RESOLUTION * np.maximum(abs(least), abs(most))
    beyond = results.equilibrium_resample - results.equilibrium_pure
    inside: xr.DataArray = (gap <= slack) & ~(gap < -beyond - slack)  # an unknown optimum bounds nothing
    return inside


def summary(results: xr.Dataset, window: int = WINDOW, tolerance: float = TOLERANCE) -> xr.Dataset:
    """One row for each setting other than the seed: exact value, mean return with interval, gap, convergence.

    Variables over the swept dims without `seed`: `equilibrium` (pure), `leader_return`, `low` and `high`
    (bootstrap interval over seeds), `gap`, `greedy_return`, `converged`, `done` and `runs` (counts).
    Lazy results are read block by block, so memory grows with the number of runs and not with their length.
    """
    results = results if "seed" in results.dims else results.expand_dims("seed")
    ends = _ends(results, window, tolerance).load()
    returns, done = ends.leader_return, results.status == Status.DONE
    interval = bootstrap_interval(returns)
    equilibrium = results.equilibrium_pure
    return xr.Dataset(
        {
            "equilibrium": equilibrium.mean("seed") if "seed" in equilibrium.dims else equilibrium,
            "leader_return": returns.mean("seed"),
            "low": interval.sel(bound="low", drop=True),
            "high": interval.sel(bound="high", drop=True),
            "gap": ends.gap.mean("seed"),
            "greedy_return": ends.greedy_return.mean("seed"),
            "converged": ends.converged.sum("seed"),
            "done": done.sum("seed"),
            "runs": xr.full_like(done, 1, dtype=int).sum("seed"),
        }
    ).reset_coords(drop=True)


def best_trials(
    results: xr.Dataset, objective: str = "leader_return_sampled", window: int = WINDOW, confidence: float = 0.95
) -> xr.Dataset:
    """The trials of a search, the best first: what each tried, and its mean over all runs with interval.

    Variables over `trial`, with the searched values as coordinates: `objective`, `low` and `high` (bootstrap interval
    over seeds, all else averaged first), `done` and `runs` (counts). A trial of which a run is missing has no objective
    (NaN) and comes last.
    """
    results = results if "seed" in results.dims else results.expand_dims("seed")
    searched = [name for name, values in results.coords.items() if values.dims == ("trial",)]
    ends, done = final(results[objective], window).load(), results.status == Status.DONE
    others = [dim for dim in done.dims if dim not in ("trial", "seed")]
    by_seed = ends.mean(others, skipna=False)
    interval = bootstrap_interval(by_seed.where(by_seed.notnull().all("seed")), confidence=confidence)
    beside = [dim for dim in done.dims if dim != "trial"]
    found = xr.Dataset(
        {
            "objective": by_seed.mean("seed", skipna=False),
            "low": interval.sel(bound="low", drop=True),
            "high": interval.sel(bound="high", drop=True),
            "done": done.sum(beside),
            "runs": xr.full_like(done, 1, dtype=int).sum(beside),
        }
    )
    order = np.argsort(-found.objective.values, kind="stable")  # NaN last
    kept = {name: results[name].variable for name in searched}
    return found.reset_coords(drop=True).assign_coords(kept).isel(trial=order)


def _ends(results: xr.Dataset, window: int, tolerance: float) -> xr.Dataset:
    """What `summary` needs of each run's curves, still lazy where they are."""
    return xr.Dataset(
        {
            "leader_return": final(results.leader_return, window),
            "gap": final(results.equilibrium_gap, window),
            "greedy_return": final(results.leader_return_greedy, 1),
            "converged": converged(results, window, tolerance),
        }
    )
