"""How many environment steps leaders need to reach the equilibrium, those of their followers' pretraining included."""

from __future__ import annotations

import os

import numpy as np
import xarray as xr

from stackpop.analysis.convergence import convergence_time, pretraining_steps
from stackpop.analysis.finals import TOLERANCE, WINDOW, converged
from stackpop.analysis.selection import of_sweep
from stackpop.errors import StackpopError, explain
from stackpop.spec import SweepSpec
from stackpop.store import Status, open_results, read_progress

PRETRAINING = "pretraining_steps"
FOLLOWERS = "followers"


def open_sweep(store: str | os.PathLike[str], spec: SweepSpec) -> xr.Dataset:
    """The runs of a sweep in a store, in its order, `with_pretraining`.

    Raises:
        StoreError: no store of ours.
    """
    return with_pretraining(of_sweep(open_results(store), spec), store)


def with_pretraining(results: xr.Dataset, store: str | os.PathLike[str]) -> xr.Dataset:
    """Runs of a store, with the steps that each one's follower was trained for before: `pretraining_steps`.

    These are 0 where the oracle needs no training, and missing where it is not done. Runs may share a follower, and so
    its steps.
    """
    if read_progress(store).followers is None:
        steps = xr.zeros_like(results.status, dtype=np.int64)
    else:
        steps = pretraining_steps(results, open_results(store, FOLLOWERS))
    attrs = {"units": "step", "long_name": "environment steps of the follower's pretraining"}
    return results.assign({PRETRAINING: steps.assign_attrs(attrs)})


def steps_to_equilibrium(results: xr.Dataset, window: int = WINDOW, tolerance: float = TOLERANCE) -> xr.DataArray:
    """Environment steps, pretraining included, until each run is at the equilibrium and stays there.

    That is the `convergence_time` over a `window` of updates; a run that ends there by chance, and is not `converged`,
    does not count. A step is a round of any game, or an answer to a query; a follower's learning games count, and so
    does its pretraining. Where several leaders share a follower, it counts for each.

    results: as of `with_pretraining`. Result: over the swept dims, NaN for a run that is not done or
    has not converged.

    Raises:
        StackpopError: the pretraining is unknown.
    """
    if PRETRAINING not in results:
        got, remedy = "results without it", "add it by `stackpop.analysis.with_pretraining`"
        raise StackpopError(explain("results", expected=f"the variable {PRETRAINING}", got=got, remedy=remedy))
    steps = convergence_time(results, tolerance, window=window).env_steps + results[PRETRAINING]
    found: xr.DataArray = steps.where(converged(results, window, tolerance) & (results.status == Status.DONE))
    return found.reset_coords(drop=True).transpose(*results.status.dims)
