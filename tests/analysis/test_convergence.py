"""How soon leaders come close, on curves whose answers are known by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

from stackpop.analysis import (
    aggregate,
    converged,
    convergence_time,
    curve,
    final,
    gap_area,
    normalised,
    pretraining_steps,
    share_converged,
    steps_to_share,
)
from stackpop.errors import StackpopError

NAN = np.nan
DONE, FAILED, PENDING, RUNNING = 2, 3, 0, 1
STEPS = 15  # environment steps an update


def results(gaps: Sequence[Sequence[float]], status: Sequence[int] | None = None, **exact: float) -> xr.Dataset:
    """Runs [seed, iteration] with returns between -10 and 90 and equilibrium 10, so that 0.01 tolerates a gap of 1."""
    gap = np.asarray(gaps, dtype="float32")
    made = np.cumsum(np.isfinite(gap)[:, ::-1], 1)[:, ::-1] > 0  # up to the last number
    kinds = np.full(len(gap), DONE) if status is None else np.asarray(status)
    values = {"equilibrium_pure": 10.0, "equilibrium_resample": 15.0, "leader_return_min": -10.0} | exact
    return xr.Dataset(
        {
            "equilibrium_gap": (("seed", "iteration"), gap),
            "leader_return": (("seed", "iteration"), (10 - gap).astype("float32")),
            "follower_regret": (("seed", "iteration"), 2 * gap),
            "env_steps": (("seed", "iteration"), np.where(made, STEPS * np.arange(1, gap.shape[1] + 1), -1)),
            "status": ("seed", kinds),
        },
        {
            "seed": range(1, len(gap) + 1),
            "iteration": range(1, gap.shape[1] + 1),
            "leader_return_max": 90.0,
            **values,
        },
    )


def followers(steps: Sequence[float], status: Sequence[int] | None = None) -> xr.Dataset:
    """Followers [seed] that were trained for some steps, in three updates."""
    ends = np.asarray(steps)
    curves = np.stack([ends // 3, ends, np.full_like(ends, -1)], -1)  # stopped early
    return xr.Dataset(
        {
            "env_steps": (("seed", "follower_iteration"), curves),
            "status": ("seed", [DONE] * len(ends) if status is None else status),
        },
        {"seed": range(1, len(ends) + 1), "follower_iteration": [1, 2, 3]},
    )


def updates(*gaps: Sequence[float], **options: Any) -> list[float]:
    found = convergence_time(results(gaps), **options)
    np.testing.assert_array_equal(found.env_steps, STEPS * found.updates)
    return list(found.updates.values)


def test_convergence_is_the_first_update_from_which_the_gap_stays_within_the_tolerance() -> None:
    assert updates([5, 1, 0.5, 0], [5, 0, 2, 1], [0, 0, 0, 0], [5, 5, 5, 1]) == [2, 4, 1, 4]


def test_a_run_that_never_converged_is_missing_and_known() -> None:
    found = convergence_time(results([[5, 0, 5], [0, 0, 0]], [DONE, FAILED]))
    assert np.isnan(found.updates).all()
    assert np.isnan(found.env_steps).all()
    assert found.known.values.tolist() == [True, False]


def test_more_than_the_optimum_of_the_protocol_is_no_convergence() -> None:
    np.testing.assert_array_equal(updates([0, -6], [0, -6.1], [-7, 0]), [1, NAN, 2])


def test_the_tolerance_is_a_share_of_the_span_of_returns() -> None:
    assert updates([6, 5, 4], tolerance=0.05) == [2]
    constant = results([[0, 1e-6]], equilibrium_pure=90.0, equilibrium_resample=90.0, leader_return_min=90.0)
    assert convergence_time(constant).updates == 1  # rounding is no gap, even where no return but one is possible


def test_a_run_that_ended_early_counts_as_long_as_it_went_and_a_gap_that_is_no_number_is_outside() -> None:
    assert updates([5, 0, NAN, NAN]) == [2]
    assert updates([0, NAN, 0]) == [3]
    diverged = results([[0, 0, NAN]])
    diverged["env_steps"] = diverged.env_steps.where(diverged.env_steps > 0, 3 * STEPS)
    assert convergence_time(diverged).updates.isnull().all()


@pytest.mark.parametrize("status", [PENDING, RUNNING, FAILED])
def test_runs_that_are_not_done_are_missing_whatever_they_hold(status: int) -> None:
    part = results([[0, 0], [0, 0]], [status, DONE])
    for found in (convergence_time(part).updates, steps_to_share(part).updates, gap_area(part).area):
        assert found.isnull().values.tolist() == [True, False]
    shares = share_converged(part)
    assert [float(shares[n]) for n in ("share", "converged", "runs", "missing")] == [1, 1, 1, 1]
    assert curve(part).runs.values.tolist() == [1, 1]
    assert curve(part).missing.values.tolist() == [1, 1]


def test_a_game_without_known_equilibrium_is_missing() -> None:
    part = results([[NAN, NAN]], equilibrium_pure=NAN)
    part["env_steps"] = part.env_steps.where(False, STEPS)
    assert not convergence_time(part).known.any()
    shares = share_converged(part)
    assert np.isnan([shares.share, shares.low, shares.high]).all()
    assert (int(shares.runs), int(shares.missing)) == (0, 1)
    assert gap_area(part).area.isnull().all()
    assert normalised(part).isnull().all()


def test_steps_to_share_is_the_first_update_that_reaches_it() -> None:
    found = steps_to_share(results([[12, 4, 1, 4], [12, 6, 5, 5]]), 0.8)  # 0.8 of the way from -10 to 10 is 6
    np.testing.assert_array_equal(found.updates, [2, NAN])
    np.testing.assert_array_equal(found.env_steps, [2 * STEPS, NAN])
    assert found.known.all()
    assert steps_to_share(results([[6, 5, 2, 4]]), 0.8, floor=0).updates == 3  # a return of 8


def test_shares_of_an_equilibrium_below_zero_start_from_the_least_return() -> None:
    part = results([[5, 3, 0]], equilibrium_pure=-5.0)
    part["leader_return"] = -5 - part.equilibrium_gap
    assert steps_to_share(part, 0.4).updates == 2  # from -10 to -5, -8 is 0.4 of the way
    assert steps_to_share(part, 0.4, floor=0).updates.isnull().all()  # no share of a value below zero


def test_area_by_hand() -> None:
    found = gap_area(results([[4, 2, -1], [3, 3, NAN], [NAN, 1, 1]]))
    np.testing.assert_array_equal(found.area, [5, 6, NAN])
    np.testing.assert_array_equal(found.area_steps, [5 * STEPS, 6 * STEPS, NAN])
    np.testing.assert_allclose(found.mean_gap, [5 / 3, 3, NAN])
    np.testing.assert_array_equal(gap_area(results([[4, 2, -1]]), clip=True).area, [6])
    thinned = gap_area(results([[4, 2, 8, 1]]).isel(iteration=[1, 3]))
    np.testing.assert_array_equal(thinned.area, [2 * 2 + 1 * 2])
    np.testing.assert_array_equal(thinned.area_steps, [STEPS * 6])


def test_share_converged_comes_with_the_interval_of_a_share() -> None:
    found = share_converged(results([[0]] * 5))
    # Wilson's interval of n of n begins at n / (n + z^2).
    assert (float(found.low), float(found.high)) == pytest.approx((5 / (5 + 1.959964**2), 1))
    half = share_converged(results([[0], [5]]))
    assert float(half.share) == 0.5
    assert float(half.low) == pytest.approx(1 - float(half.high))


def test_steps_include_pretraining_where_the_followers_are_given() -> None:
    part = results([[5, 0], [0, 0], [5, 5]])
    alone, whole = (convergence_time(part, followers=f) for f in (None, followers([30, 300, 3000])))
    np.testing.assert_array_equal(alone.env_steps, [2 * STEPS, STEPS, NAN])
    np.testing.assert_array_equal(whole.env_steps, [2 * STEPS + 30, STEPS + 300, NAN])
    np.testing.assert_array_equal(steps_to_share(part, followers=followers([30, 300, 3000])).env_steps, [60, 315, NAN])


def test_followers_belong_to_runs_by_their_labels() -> None:
    part, trained = results([[0]] * 3), followers([30, 300, 3000], [DONE, FAILED, DONE])
    np.testing.assert_array_equal(pretraining_steps(part, trained), [30, NAN, 3000])
    np.testing.assert_array_equal(pretraining_steps(part.isel(seed=[2, 0]), trained), [3000, 30])
    assert pretraining_steps(part.sel(seed=3), trained) == 3000
    np.testing.assert_array_equal(pretraining_steps(part, trained.isel(seed=[2])), [NAN, NAN, 3000])
    flags = trained.rename(seed="follower_early_stop").isel(follower_early_stop=[0, 2])
    flags = flags.assign_coords(follower_early_stop=[False, True])
    wide = part.expand_dims(follower_early_stop=[True, False])
    assert pretraining_steps(wide, flags).values.tolist() == [3000, 30]
    with pytest.raises(
        StackpopError, match=r"^results: expected runs with a label of 'seed', got none; choose it with"
    ):
        pretraining_steps(part.isel(seed=0, drop=True), trained)


def test_oracles_that_train_nothing_cost_nothing() -> None:
    part = results([[0]]).isel(seed=0).expand_dims(follower_oracle=["exact", "contextual"])
    trained = followers([30]).isel(seed=0).expand_dims(follower_oracle=["exact", "contextual"])
    trained["status"] = ("follower_oracle", [PENDING, DONE])
    assert pretraining_steps(part, trained).values.tolist() == [0, 30]


def test_a_curve_is_the_mean_over_seeds_with_its_interval_and_counts() -> None:
    part = results([[4, 2, 0], [2, 2, NAN], [3, 2, NAN]])
    found = curve(part)
    np.testing.assert_allclose(found.value, [3, 2, 0])
    assert found.runs.values.tolist() == [3, 3, 1]
    assert found.missing.values.tolist() == [0, 0, 2]
    assert (found.low[:2] <= found.value[:2]).all()
    assert float(found.low[0]) == 2  # all three resamples the least in a twenty-seventh of cases
    np.testing.assert_array_equal(found.low[1:], [2, NAN])
    np.testing.assert_allclose(curve(part, "follower_regret").value, [6, 4, 0])
    np.testing.assert_allclose(curve(part, "env_steps").value, STEPS * np.array([1, 2, 3]))


def test_a_pooled_curve_averages_each_seed_first() -> None:
    part = xr.concat([results([[1], [3]]), results([[5], [NAN]])], xr.Variable("matrix", ["a", "b"]))
    part["status"] = part.status.transpose("matrix", "seed")
    found = curve(part, pooled=["matrix"])
    assert (found.value.item(), found.runs.item(), found.missing.item()) == (3, 1, 1)
    with pytest.raises(StackpopError, match=r"^pooled: expected swept dims, got 'seed'; known: matrix"):
        curve(part, pooled=["seed"])


AXES: list[tuple[str, ...]] = [(), ("seed",), ("matrix",), ("trial", "seed"), ("leader_lr", "matrix", "early", "seed")]
EACH: dict[str, Callable[[xr.Dataset], Any]] = {
    "convergence_time": convergence_time,
    "steps_to_share": steps_to_share,
    "gap_area": gap_area,
    "share_converged": share_converged,
    "curve": curve,
    "normalised": lambda r: xr.Dataset({"score": normalised(r)}),
    "aggregate": lambda r: aggregate(final(normalised(r))),
}


@pytest.mark.parametrize("dims", AXES, ids=lambda dims: "-".join(dims) or "none")
@pytest.mark.parametrize("name", EACH)
def test_any_axes_will_do_in_memory_and_lazily(name: str, dims: tuple[str, ...]) -> None:
    one = results([[5, 1, 0]]).isel(seed=0, drop=True)
    whole = one.expand_dims({dim: [False, True] if dim == "early" else [1, 2] for dim in dims})
    found = EACH[name](whole)
    left = [dim for dim in dims if dim != "seed"]
    for values in found.data_vars.values():
        assert set(left) <= set(map(str, values.dims)) <= {*dims, "iteration", "statistic"}
        assert not values.isnull().all() or values.name in ("low", "high")
    lazy = EACH[name](whole.chunk(dict.fromkeys(whole.dims, 1)))
    xr.testing.assert_allclose(lazy.load(), found)


@pytest.mark.parametrize("name", EACH)
def test_nothing_is_read_until_it_is_asked_for(name: str) -> None:
    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("read")

    whole = results([[5, 1, 0], [1, 0, 0]]).chunk()
    for variable in ("equilibrium_gap", "leader_return", "env_steps", "status"):
        old = whole[variable]
        meta = np.empty((0,) * old.ndim, old.dtype)
        whole[variable] = (old.dims, dask.array.map_blocks(read, old.data, dtype=old.dtype, meta=meta))
    found = EACH[name](whole)
    with pytest.raises(AssertionError, match="read"):
        found.load()


def test_converged_and_convergence_time_mean_the_same_by_close() -> None:
    part = results([[5, 0], [5, 1.1], [0, -6], [0, -6.2]])
    at_the_end = convergence_time(part).updates.notnull()
    np.testing.assert_array_equal(converged(part, window=1), at_the_end)


def test_what_the_results_lack_is_one_line() -> None:
    part = results([[1.0]])
    for name, function in EACH.items():
        with pytest.raises(StackpopError, match=r"^results: expected the variable '.*', got none; pass the whole") as e:
            function(part.drop_vars(["equilibrium_gap", "leader_return"]))
        assert "\n" not in str(e.value), name
    with pytest.raises(StackpopError, match=r"^results: expected curves along iteration, got one update; keep them"):
        convergence_time(part.isel(iteration=0))


MOST_MORE = 60e6  # bytes for ten times the runs; one of their curves alone is 20 MB, and there are many variables
LARGE = """
import sys, time, xarray as xr
from stackpop.analysis import *
ds = xr.open_zarr(sys.argv[1], consolidated=False)
begun = time.monotonic()
score = final(normalised(ds))
parts = [convergence_time(ds), steps_to_share(ds), gap_area(ds), share_converged(ds), aggregate(score, ["matrix"]),
         curve(ds.isel(iteration=slice(None, None, 50)))]
for part in parts:
    part.load()
print(f"{time.monotonic() - begun:.1f}")
assert 50 < float(parts[0].updates.min()) <= float(parts[0].updates.max()) < 200
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_runs_of_a_store(tmp_path: Path) -> None:
    peaks = []
    for runs in (1_000, 10_000):
        path = tmp_path / f"{runs}.zarr"
        _large(runs).to_zarr(path, consolidated=False)
        peaks.append(_peak(path, runs))
    assert peaks[1] - peaks[0] < MOST_MORE


def _large(runs: int, length: int = 500) -> xr.Dataset:
    """A store of [matrix, seed, iteration] in chunks like ours, 64 curves each."""
    shape, chunks = (10, runs // 10, length), (1, 64, 500)
    noise = dask.array.random.default_rng(0).random(shape, chunks=chunks, dtype="float32")
    gap = noise * 20 * dask.array.exp(-dask.array.arange(length, chunks=500) / 50).astype("float32")
    steps = dask.array.broadcast_to(dask.array.arange(1, length + 1, chunks=500) * STEPS, shape, chunks=chunks)
    dims = ("matrix", "seed", "iteration")
    one = results([[0.0]]).drop_vars(["seed", "iteration"])
    return xr.Dataset(
        {
            "equilibrium_gap": (dims, gap),
            "leader_return": (dims, 10 - gap),
            "env_steps": (dims, steps),
            "status": (dims[:2], np.full(shape[:2], DONE)),
        },
        {"matrix": range(10), "seed": range(shape[1]), "iteration": range(1, length + 1), **one.coords},
    )


def _peak(path: Path, runs: int) -> int:
    """The most bytes that a process held which analysed a store."""
    begun = time.monotonic()
    # Two threads, whatever the machine has: each holds a block.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "DASK_NUM_WORKERS": "2"}
    out = path.with_suffix(".out")
    with out.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", LARGE, str(path)], stdout=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = out.read_text().strip()
    peak = 1024 * usage.ru_maxrss
    print(f"\n{runs:,} runs: {seconds} s, {time.monotonic() - begun:.1f} s with the start, {peak / 1e6:.0f} MB")
    return peak
