"""Whether the claims that a sweep was made to test hold in its results."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from stackpop.analysis.efficiency import open_sweep
from stackpop.analysis.finals import final
from stackpop.analysis.paired import SEED, STEPS, paired, run_value
from stackpop.analysis.selection import select
from stackpop.spec import Claim, Quantity, SweepSpec, parse_sweep
from stackpop.spec.claims import BEST
from stackpop.spec.search import TRIAL, SearchSpec
from stackpop.store import Status, open_results

# Percentile intervals of few values are too narrow. Measured where nothing makes a difference (normal values): that of
# 3 seeds lies above 0 in 12 % of cases, of 5 in 7 %, of 10 in 4 %, of 20 in the nominal 2.5 to 3 %.
LEAST_SEEDS = 5
OBJECTIVE = "objective of the search"


@dataclass(frozen=True)
class Outcome:
    """What the results say of a claim.

    status: `open` until all its runs are done, and, but for `equal`, as long as there are fewer than five seeds.
    reason: why it is open. left, right, difference, low, high, pairs, missing: as of `compare`, pooled.
    """

    claim: Claim
    status: Literal["held", "not held", "open"]
    difference: float
    low: float
    high: float
    pairs: int
    missing: int = 0
    left: float = np.nan
    right: float = np.nan
    reason: str = ""


@dataclass(frozen=True)
class Findings:
    """A sweep as its store tells it: the file as resolved, its runs, the outcomes of its claims."""

    spec: SweepSpec
    results: xr.Dataset
    outcomes: tuple[Outcome, ...]


def read_findings(store: str | os.PathLike[str]) -> Findings:
    """Check the claims of the sweep in a store.

    Raises:
        StoreError: no store of ours.
        SpecError: its sweep is not valid any more.
        StackpopError: it lacks what a claim names.
    """
    stored = open_results(store)
    spec = parse_sweep(stored.attrs["spec"], stored.attrs["name"], source=f"store {os.fspath(store)}, spec")
    results = open_sweep(store, spec)
    return Findings(spec, results, tuple(check_claims(results, spec.claims, spec.search)))


def check_claims(results: xr.Dataset, claims: Iterable[Claim], search: SearchSpec | None = None) -> list[Outcome]:
    """The outcome of each claim: left minus right, averaged over all axes but the seed, with its interval over seeds.

    `greater` and `less` hold if the 95 % bootstrap interval lies above or below 0, `at_least` and `at_most` if it may
    also touch it, and `equal` if the two sides of every single pair are the same number. Pairs of which a run is done
    and has not converged have no `steps_to_equilibrium`: they are left out, and leave no claim open.

    results: as of `open_sweep`. search: the sweep's, if it is one, for claims about its best trial.

    Raises:
        StackpopError: the results lack a variable, an axis or a value that a claim names.
    """
    claims = tuple(claims)
    sides = [side for claim in claims for side in (claim.left, claim.right) if isinstance(side, Quantity)]
    wanted = {_name(side): run_value(results, side.variable, side.at) for side in sides}
    numbers = xr.Dataset({**wanted, "status": results.status})
    numbers["done"] = results.status == Status.DONE
    if search is not None:
        numbers[OBJECTIVE] = final(results[search.settings.objective], search.settings.window)
    numbers = numbers.reset_coords(drop=True).load()
    return [_outcome(claim, numbers, results) for claim in claims]


def _name(side: Quantity) -> str:
    return f"{side.variable} at {side.at}"


def _outcome(claim: Claim, numbers: xr.Dataset, results: xr.Dataset) -> Outcome:
    left, done = _values(claim.left, claim, numbers)
    if isinstance(claim.right, Quantity):
        right, right_done = _values(claim.right, claim, numbers)
        done = done & right_done
    else:
        right = xr.full_like(left, _as_stored(claim.right, claim.left.variable, results))
    row = paired(left, right)
    difference = left - right
    pairs, missing = int(row.pairs), int(row.missing)
    low, high = float(row.low), float(row.high)
    undone = int((~done).sum()) if _may_be_missing(claim) else missing
    unfinished = f"{undone} of {pairs + missing} pairs not done" if undone else "" if pairs else "no pair converged"
    if claim.relation == "equal":
        reason = unfinished
        holds = bool((difference.fillna(0) == 0).all())
        reason = reason if holds else ""  # one unequal pair decides
    else:
        seeds = int(difference.notnull().any([dim for dim in difference.dims if dim != SEED]).sum())
        few = f"{seeds} of {LEAST_SEEDS} seeds" if seeds < LEAST_SEEDS else ""
        reason = unfinished or few
        holds = {"greater": low > 0, "less": high < 0, "at_least": low >= 0, "at_most": high <= 0}[claim.relation]
    return Outcome(
        claim,
        "open" if reason else "held" if holds else "not held",
        difference=float(row.difference),
        low=low,
        high=high,
        pairs=pairs,
        missing=missing,
        left=float(row.left_mean),
        right=float(row.right_mean),
        reason=reason,
    )


def _values(side: Quantity, claim: Claim, numbers: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """A side's number for each run that it is about, and whether that run is done."""
    labels = {**claim.where, **side.where}
    if labels.get(TRIAL) == BEST:
        numbers = _best_elsewhere(numbers)
        del labels[TRIAL]
    found = select(numbers, labels).reset_coords(drop=True)
    return found[_name(side)], found.done


def _best_elsewhere(numbers: xr.Dataset) -> xr.Dataset:
    """For each seed the runs of the trial that did best on all the other seeds; missing until all trials are done."""
    objective = numbers[OBJECTIVE].where(numbers.done)
    score = objective.mean([dim for dim in objective.dims if dim not in (TRIAL, SEED)], skipna=False)
    if SEED in score.dims:
        score = score.sum(SEED, skipna=False) - score
    whole = numbers.done.all()
    best = score.fillna(-np.inf).argmax(TRIAL)
    found: xr.Dataset = numbers.isel({TRIAL: best}).where(whole)
    return found.assign(done=numbers.done.isel({TRIAL: best}) & whole)


def _may_be_missing(claim: Claim) -> bool:
    """Whether runs that are done may lack what a claim is about."""
    return any(isinstance(side, Quantity) and side.variable == STEPS for side in (claim.left, claim.right))


def _as_stored(number: float, variable: str, results: xr.Dataset) -> float:
    """A number as the store keeps the variable's, or 0.1 would be less than every 0.1 of the results."""
    kind = results[variable].dtype if variable in results else np.dtype(float)
    return float(np.asarray(number, kind)) if kind.kind == "f" else number
