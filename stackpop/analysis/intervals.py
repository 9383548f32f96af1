"""How sure a number is that few runs tell: estimates over runs with bootstrap intervals, seeds as the unit.

The estimates are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(NeurIPS 2021). *Strata* are dims that are pooled, usually the matrices: each has runs of its own, which are resampled
among themselves. All dims but the strata and `seed` are kept. Runs that are missing (NaN) are left out and counted.

All intervals are bootstrap percentiles, too narrow for few seeds: measured on normal values, one that says 95 % covers
the mean in 86 % of cases with five seeds, in 90 % with ten, in 94 % with twenty. The same numbers and the same
`random_seed` always give the same interval.

Scores that are lazy stay so: nothing is read before the result is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.errors import StackpopError, did_you_mean, explain

SEED = "seed"
STATISTICS = ("mean", "median", "iqm")
THRESHOLDS = tuple(np.linspace(0, 1, 21).round(2).tolist())
RESAMPLED_VALUES = 2**17  # values of resamples held at once: few enough for a core's cache

Samples = Sequence[NDArray[Any]]  # one a stratum, [..., run]
Numbers = NDArray[np.float64]


def bootstrap_interval(
    values: xr.DataArray, dim: str = SEED, confidence: float = 0.95, *, random_seed: int = 0
) -> xr.DataArray:
    """Bootstrap percentile interval of the mean over `dim`, the unit of replication; missing values are left out.

    Result: the other dims, then `bound` (low, high). A single value, or none, gives no interval (NaN). Of few values
    it is too narrow: 95 % is 86 % with five, 90 % with ten (the module's docstring says more).

    Raises:
        StackpopError: a confidence that is not between 0 and 1.
    """
    _check_confidence(confidence)
    bounds: xr.DataArray = xr.apply_ufunc(
        partial(_bounds_of_means, confidence=confidence, random_seed=random_seed),
        _whole(values, [dim]),
        input_core_dims=[[dim]],
        output_core_dims=[["bound"]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": {"bound": 2}},
    )
    return bounds.assign_coords(bound=["low", "high"])


def aggregate(
    scores: xr.DataArray,
    strata: Sequence[str] = (),
    *,
    together: bool = False,
    confidence: float = 0.95,
    random_seed: int = 0,
) -> xr.Dataset:
    """Mean, median and interquartile mean of runs, with stratified bootstrap intervals.

    scores: one number a run, for instance `normalised(ends)`; NaN where the run is missing. strata: the dims that are
    pooled. The mean is that of the strata's means, the median that of the strata's means (without strata: of the
    runs), and the interquartile mean (`iqm`) that of all runs without the least and the greatest quarter, rounded down.
    together: resample whole seeds, the same in all strata, and not each stratum for itself. Seeds of which a run is
    missing are then left out. It is the careful choice where a seed, whose runs share their random numbers, could be as
    good or bad in all strata. Measured on normal scores in twelve strata, an interval of the mean or the iqm that says
    95 % covers, with five and ten seeds, 89 % and 93 % if runs are independent (together: 82 % and 90 %), but 48 % and
    55 % if half of the variance is the seed's (together: 81 % and 90 %). Three sweeps of the paper's matrices, of five
    seeds, showed no such effect: the variance of a seed's mean was 1.1, 0.75 and 0.9 times that of independent runs.

    Result: `value`, `low` and `high` over `statistic` (mean, median, iqm) and the kept dims; `runs` and `missing`
    (counts, over the kept dims) and `strata` (those with any run; others are left out). No interval (NaN) where a
    stratum has one run only.

    Raises:
        StackpopError: a stratum that is no dim of the scores; a confidence that is not between 0 and 1.
    """
    _check_confidence(confidence)
    scores, dims = _by_stratum(scores, strata)

    def estimate(runs: NDArray[Any]) -> Numbers:
        samples = _complete(runs) if together else _present(runs)
        statistic = _aggregates if dims else _aggregates_of_one
        return _estimate(samples, statistic, len(STATISTICS), confidence, random_seed, paired=together)

    core = [*dims, SEED]
    found = _apply(estimate, [scores], [core], "statistic", len(STATISTICS))
    usable = scores.notnull()
    if together:
        usable = usable & (usable | ~usable.any(SEED)).all(dims)
    counts = {
        "runs": usable.sum(core),
        "missing": (~usable).sum(core),
        "strata": usable.any(SEED).sum(dims) if dims else usable.any(SEED).astype(int),
    }
    return _labelled(found, counts).assign_coords(statistic=list(STATISTICS))


def performance_profile(
    scores: xr.DataArray,
    thresholds: Sequence[float] = THRESHOLDS,
    strata: Sequence[str] = (),
    *,
    confidence: float = 0.95,
    random_seed: int = 0,
) -> xr.Dataset:
    """The share of all runs that score more than each threshold, with pointwise stratified bootstrap intervals.

    scores, strata: as of `aggregate`. Result: `value`, `low` and `high` over `threshold` and the kept dims; `runs`
    and `missing` (counts). No interval (NaN) where a stratum has one run only.

    Raises:
        StackpopError: a stratum that is no dim of the scores; a confidence that is not between 0 and 1.
    """
    _check_confidence(confidence)
    scores, dims = _by_stratum(scores, strata)
    limits = np.asarray(thresholds, dtype=float)

    def estimate(runs: NDArray[Any]) -> Numbers:
        above = [sample > limits[:, None] for sample in _present(runs)]
        return _estimate(above, _share, len(limits), confidence, random_seed)

    core = [*dims, SEED]
    found = _apply(estimate, [scores], [core], "threshold", len(limits))
    counts = {"runs": scores.notnull().sum(core), "missing": scores.isnull().sum(core)}
    return _labelled(found, counts).assign_coords(threshold=limits)


def probability_of_improvement(
    left: xr.DataArray,
    right: xr.DataArray,
    strata: Sequence[str] = (),
    *,
    confidence: float = 0.95,
    random_seed: int = 0,
) -> xr.Dataset:
    """How likely a run of one setting scores more than one of another, a tie counting half: mean over the strata.

    left, right: scores of the two settings, as of `aggregate`; the same dims, seeds may differ. Each pair of a left
    and a right run of a stratum counts (the Mann-Whitney statistic), whatever their seeds.

    Result: `value`, `low` and `high` over the kept dims, each side's runs being resampled for itself; `left_runs`,
    `left_missing`, `right_runs`, `right_missing` and `strata` (those with runs on both sides; others are left out).
    No interval (NaN) where a stratum has one run only on a side.

    Raises:
        StackpopError: a stratum that is no dim of the scores; two sides of different labels; a confidence that is not
            between 0 and 1.
    """
    _check_confidence(confidence)
    (left, dims), (right, _) = _by_stratum(left, strata), _by_stratum(right, strata)
    _check_same_labels(left, right)
    other = "other_seed"
    right = right.rename({SEED: other})

    def estimate(ours: NDArray[Any], theirs: NDArray[Any]) -> Numbers:
        sides = [_samples(side) for side in (ours, theirs)]
        pairs = [(a, b) for a, b in zip(*sides, strict=True) if a.size and b.size]
        samples = [side for pair in pairs for side in pair]
        return _estimate(samples, _improvement, 1, confidence, random_seed)

    cores = [[*dims, SEED], [*dims, other]]
    found = _apply(estimate, [left, right], cores, "statistic", 1).isel(statistic=0)
    both = left.notnull().any(SEED) & right.notnull().any(other)
    counts = {"strata": both.sum(dims) if dims else both.astype(int)}
    for name, side, core in zip(("left", "right"), (left, right), cores, strict=True):
        counts |= {f"{name}_runs": side.notnull().sum(core), f"{name}_missing": side.isnull().sum(core)}
    return _labelled(found, counts)


# --- dims -------------------------------------------------------------------------------------------------------------


def _by_stratum(scores: xr.DataArray, strata: Sequence[str]) -> tuple[xr.DataArray, list[str]]:
    """Scores with their strata as dims and nothing but labels beside them, and the strata's names."""
    wanted = [strata] if isinstance(strata, str) else strata
    names = list(dict.fromkeys(name.replace(".", "_") for name in wanted))
    known = [str(dim) for dim in scores.dims if dim != SEED]
    for name in names:
        if name not in known and (name not in scores.coords or scores[name].ndim):
            remedy = did_you_mean(name, known) if known else "leave strata out: there is one setting only"
            raise StackpopError(explain("strata", expected="dims of the scores", got=repr(name), remedy=remedy))
    chosen = scores.expand_dims([name for name in names if name not in scores.dims])
    if SEED not in chosen.dims:
        chosen = chosen.drop_vars(SEED, errors="ignore").expand_dims(SEED)
    return chosen.astype(float).reset_coords(drop=True), names


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        expected = "a share between 0 and 1"
        raise StackpopError(explain("confidence", expected=expected, got=confidence, remedy="0.95 is usual"))


def _check_same_labels(left: xr.DataArray, right: xr.DataArray) -> None:
    dims = set(left.dims) | set(right.dims)
    for dim in sorted(map(str, dims - {SEED})):
        if dim not in left.dims or dim not in right.dims or not left.get_index(dim).equals(right.get_index(dim)):
            remedy = "choose one value of the axis that differs on each side, with .sel"
            expected = f"the same labels of {dim} on both sides"
            raise StackpopError(explain("scores", expected=expected, got="others", remedy=remedy))


def _whole(values: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Lazy values in chunks that hold all of some dims."""
    return values.chunk(dict.fromkeys(dims, -1)) if values.chunks else values


def _apply(
    estimate: Callable[..., Numbers], scores: list[xr.DataArray], cores: list[list[str]], dim: str, size: int
) -> xr.DataArray:
    """An estimate [dim, part] of the runs of each setting; `part` is the value, then low and high."""
    found: xr.DataArray = xr.apply_ufunc(
        estimate,
        *(_whole(each, core) for each, core in zip(scores, cores, strict=True)),
        input_core_dims=cores,
        output_core_dims=[[dim, "part"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": {dim: size, "part": 3}},
    )
    return found.transpose(dim, ...)


def _labelled(found: xr.DataArray, counts: dict[str, xr.DataArray]) -> xr.Dataset:
    parts = {name: found.isel(part=k) for k, name in enumerate(("value", "low", "high"))}
    return xr.Dataset({**parts, **counts})


# --- samples ----------------------------------------------------------------------------------------------------------


def _samples(runs: NDArray[Any]) -> list[NDArray[Any]]:
    """The runs of each stratum that are not missing, from [..., seed]."""
    return [row[~np.isnan(row)] for row in runs.reshape(-1, runs.shape[-1])]


def _present(runs: NDArray[Any]) -> list[NDArray[Any]]:
    return [sample for sample in _samples(runs) if sample.size]


def _complete(runs: NDArray[Any]) -> list[NDArray[Any]]:
    """The runs of the seeds that no stratum lacks, of the strata that have any run."""
    rows = runs.reshape(-1, runs.shape[-1])
    rows = rows[~np.isnan(rows).all(-1)]
    return list(rows[:, ~np.isnan(rows).any(0)]) if len(rows) else []


# --- estimates --------------------------------------------------------------------------------------------------------


def _aggregates(*samples: NDArray[Any], axis: int = -1) -> Numbers:
    """`STATISTICS` of several strata, [statistic, ...]."""
    from scipy.stats import trim_mean

    means = np.stack([sample.mean(axis) for sample in samples])
    iqm = trim_mean(np.concatenate(samples, axis), 0.25, axis=axis)
    return np.stack([means.mean(0), np.median(means, 0), iqm])


def _aggregates_of_one(sample: NDArray[Any], axis: int = -1) -> Numbers:
    """The same of runs that are in no strata."""
    mean, _, iqm = _aggregates(sample, axis=axis)
    return np.stack([mean, np.median(sample, axis), iqm])


def _share(*above: NDArray[Any], axis: int = -1) -> Numbers:
    share: Numbers = np.concatenate(above, axis).mean(axis)
    return share


def _improvement(*sides: NDArray[Any], axis: int = -1) -> Numbers:
    """Share of pairs in which left is more, ties half: mean over strata whose sides take turns; [1, ...]."""
    shares = []
    for left, right in zip(sides[::2], sides[1::2], strict=True):
        ours, theirs = np.moveaxis(left, axis, -1)[..., :, None], np.moveaxis(right, axis, -1)[..., None, :]
        shares.append(((ours > theirs) + 0.5 * (ours == theirs)).mean((-1, -2)))
    improvement: Numbers = np.mean(shares, 0)[None]
    return improvement


def _estimate(
    samples: Samples,
    statistic: Callable[..., Numbers],
    size: int,
    confidence: float,
    random_seed: int,
    *,
    paired: bool = False,
) -> Numbers:
    """A statistic of size `size` with its interval: [size, part]; all NaN where there is no run."""
    if not samples or not samples[0].size:
        return np.full((size, 3), np.nan)
    value = statistic(*samples)
    if min(sample.shape[-1] for sample in samples) < 2:
        return np.stack([value, value * np.nan, value * np.nan], -1)
    return np.stack([value, *_bootstrap(samples, statistic, confidence, random_seed, paired=paired)], -1)


def _bootstrap(
    samples: Samples, statistic: Callable[..., Numbers], confidence: float, random_seed: int, *, paired: bool = False
) -> tuple[Numbers, Numbers]:
    """Percentile interval of a statistic, every sample being resampled along its last axis."""
    from scipy.stats import bootstrap

    found = bootstrap(
        samples,
        statistic,
        axis=-1,
        vectorized=True,
        paired=paired,
        batch=max(1, RESAMPLED_VALUES // sum(sample.size for sample in samples)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(random_seed),
    ).confidence_interval
    return found.low, found.high


def _bounds_of_means(values: NDArray[Any], *, confidence: float, random_seed: int) -> Numbers:
    """`bootstrap_interval` of [..., seed], at once for all rows that miss the same seeds."""
    rows = values.reshape(-1, values.shape[-1])
    found = np.full((len(rows), 2), np.nan)
    patterns, which = np.unique(np.isfinite(rows), axis=0, return_inverse=True)
    for k, kept in enumerate(patterns):
        if kept.sum() >= 2:
            same = which == k
            samples = [rows[same][:, kept].astype(float)]
            found[same] = np.stack(_bootstrap(samples, np.mean, confidence, random_seed), -1)
    return found.reshape(*values.shape[:-1], 2)
