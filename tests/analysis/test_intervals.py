"""Estimates over runs and their intervals, beside rliable's and beside hand-computed cases.

tests/fixtures/rliable.json holds what rliable said of fixed random numbers, and how it was asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stackpop.analysis import aggregate, bootstrap_interval, performance_profile, probability_of_improvement
from stackpop.errors import StackpopError

RELIABLE = json.loads((Path(__file__).parents[1] / "fixtures" / "rliable.json").read_text())
# Of an interval's end, between two bootstraps: its standard error is 0.0005 for the means here with 10,000 resamples.
MONTE_CARLO = 0.004
NAN = np.nan


def scores(values: Any, dims: tuple[str, ...] = ("matrix", "seed")) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    return xr.DataArray(values, {d: range(n) for d, n in zip(dims, values.shape, strict=True)}, dims)


def of_rliable(name: str) -> xr.DataArray:
    """Its scores are [run][task]."""
    return scores(np.transpose(RELIABLE[name]))


@pytest.mark.parametrize("name", ["x", "y"])
def test_aggregates_are_those_of_rliable(name: str) -> None:
    found = aggregate(of_rliable(name), ["matrix"])
    for statistic, expected in RELIABLE["aggregates"][name].items():
        ours = found.sel(statistic=statistic)
        assert ours.value == pytest.approx(expected["value"], abs=1e-12)
        assert (float(ours.low), float(ours.high)) == pytest.approx(
            (expected["low"], expected["high"]), abs=MONTE_CARLO
        )


def test_probability_of_improvement_is_that_of_rliable() -> None:
    expected = RELIABLE["probability_of_improvement"]
    found = probability_of_improvement(of_rliable("x"), of_rliable("y"), ["matrix"])
    assert float(found.value) == pytest.approx(expected["value"], abs=1e-12)
    assert (float(found.low), float(found.high)) == pytest.approx((expected["low"], expected["high"]), abs=0.012)
    assert (int(found.left_runs), int(found.right_runs), int(found.strata)) == (60, 42, 6)


def test_performance_profile_is_that_of_rliable() -> None:
    expected = RELIABLE["profile"]
    found = performance_profile(of_rliable("x"), expected["thresholds"], ["matrix"])
    np.testing.assert_allclose(found.value, expected["value"], atol=1e-12)
    step = 1 / 60  # shares of 60 runs come in steps, and a bound may fall on either side of one
    np.testing.assert_allclose(found.low, expected["low"], atol=step + 1e-9)
    np.testing.assert_allclose(found.high, expected["high"], atol=step + 1e-9)


def test_aggregates_by_hand() -> None:
    found = aggregate(scores([[1, 2, 3, 6], [0, 0, 0, 100], [5, 5, 5, 5]]), ["matrix"])
    # Means 3, 25, 5. Sorted, the twelve are 0 0 0 1 2 3 5 5 5 5 6 100, of which the middle six stay.
    assert found.value.values.tolist() == pytest.approx([11, 5, (1 + 2 + 3 + 5 + 5 + 5) / 6])
    assert (int(found.runs), int(found.missing), int(found.strata)) == (12, 0, 3)


def test_without_strata_every_setting_stands_for_itself_and_its_median_is_that_of_its_runs() -> None:
    found = aggregate(scores([[1, 2, 3, 6], [0, 0, 0, 100]]))
    np.testing.assert_allclose(found.value.sel(statistic="median"), [2.5, 0])
    np.testing.assert_allclose(found.value.sel(statistic="mean"), [3, 25])
    np.testing.assert_allclose(found.value.sel(statistic="iqm"), [2.5, 0])
    assert found.runs.values.tolist() == [4, 4]


def test_missing_runs_are_left_out_and_counted() -> None:
    found = aggregate(scores([[1, 3, NAN], [NAN, NAN, NAN], [5, 6, 7]]), ["matrix"])
    assert found.value.values.tolist() == pytest.approx([4, 4, (3 + 5 + 6) / 3])
    assert (int(found.runs), int(found.missing), int(found.strata)) == (5, 4, 2)
    assert found.low.notnull().all()
    profile = performance_profile(scores([[1, 3, NAN], [NAN, NAN, NAN]]), [1, 2], ["matrix"])
    assert profile.value.values.tolist() == [0.5, 0.5]  # more than, not at least
    assert (int(profile.runs), int(profile.missing)) == (2, 4)


@pytest.mark.parametrize("values", [[[1.0]], [[1.0, 2.0], [3.0, NAN]], [[NAN, NAN]]])
def test_no_interval_without_two_runs_in_every_stratum(values: list[list[float]]) -> None:
    found = aggregate(scores(values), ["matrix"])
    assert found.low.isnull().all()
    assert found.high.isnull().all()
    assert bool(found.value.notnull().all()) == bool(np.isfinite(values).any())


def test_a_chosen_matrix_and_no_seed_are_a_stratum_and_a_run() -> None:
    values = scores([[1.0, 2.0], [3.0, 5.0]])
    one = aggregate(values.sel(matrix=1), ["matrix"])
    assert one.value.values.tolist() == [4, 4, 4]
    lone = aggregate(values.sel(matrix=1, seed=1), ["matrix"])
    assert lone.value.values.tolist() == [5, 5, 5]
    assert (int(lone.runs), bool(lone.low.isnull().all())) == (1, True)


def test_seeds_resampled_together_are_as_sure_as_seeds_and_not_as_runs() -> None:
    """Where a seed is as good in every game, twenty games tell no more than one."""
    of_seed = np.random.default_rng(0).normal(size=8)
    values = scores(np.tile(of_seed, (20, 1)))
    apart, together = (aggregate(values, ["matrix"], together=t).sel(statistic="mean") for t in (False, True))
    expected = bootstrap_interval(scores(of_seed, ("seed",)))
    np.testing.assert_allclose([together.low, together.high], expected)
    assert apart.high - apart.low < (together.high - together.low) / 3
    part = aggregate(values.where((values.matrix != 3) | (values.seed != 2)), ["matrix"], together=True)
    assert (int(part.runs), int(part.missing)) == (140, 20)
    np.testing.assert_allclose(part.value.sel(statistic="mean"), np.delete(of_seed, 2).mean())


def test_kept_dims_are_answers_of_their_own() -> None:
    values = scores(np.random.default_rng(0).normal(size=(3, 2, 5)), ("leader_lr", "matrix", "seed"))
    whole = aggregate(values, ["matrix"])
    assert whole.value.dims == ("statistic", "leader_lr")
    for lr in range(3):
        xr.testing.assert_allclose(
            whole.sel(leader_lr=lr, drop=True), aggregate(values.sel(leader_lr=lr, drop=True), ["matrix"])
        )


def test_the_same_numbers_give_the_same_interval_and_another_random_seed_another() -> None:
    values = scores(np.random.default_rng(0).normal(size=(3, 5)))
    xr.testing.assert_identical(aggregate(values, ["matrix"]), aggregate(values, ["matrix"]))
    first, second = (aggregate(values, ["matrix"], random_seed=s).low for s in (0, 1))
    assert not first.equals(second)
    np.testing.assert_allclose(first, second, atol=0.05)


def test_intervals_of_rows_that_miss_different_seeds_are_those_of_each_row() -> None:
    values = scores(np.random.default_rng(0).normal(size=(6, 7)))
    values = values.where(values.seed != values.matrix)
    whole = bootstrap_interval(values)
    for row in range(6):
        xr.testing.assert_identical(whole.sel(matrix=row), bootstrap_interval(values.sel(matrix=row)))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [([2, 3], [0, 1], 1), ([0, 1], [2, 3], 0), ([1, 1], [1, 1], 0.5), ([1, 3], [2, 3, 0], 3.5 / 6), ([1], [NAN], NAN)],
)
def test_probability_of_improvement_by_hand(left: list[float], right: list[float], expected: float) -> None:
    found = probability_of_improvement(scores(left, ("seed",)), scores(right, ("seed",)))
    assert float(found.value) == pytest.approx(expected, nan_ok=True)


def test_probability_of_improvement_counts_what_is_missing() -> None:
    left, right = scores([[1, 2, NAN], [1, 1, 1], [5, 6, 7]]), scores([[0, 0], [NAN, NAN], [6, 6]])
    found = probability_of_improvement(left, right, ["matrix"])
    assert float(found.value) == pytest.approx((1 + 0.5) / 2)
    assert {name: int(found[name]) for name in ("strata", "left_missing", "right_missing")} == {
        "strata": 2, "left_missing": 1, "right_missing": 2,
    }  # fmt: skip


numbers = arrays(float, st.integers(1, 6), elements=st.integers(-3, 3).map(float))


@settings(max_examples=25)
@given(numbers, numbers)
def test_one_side_improves_as_often_as_the_other_does_not(left: np.ndarray, right: np.ndarray) -> None:
    sides = scores(left, ("seed",)), scores(right, ("seed",))
    there, back = probability_of_improvement(*sides), probability_of_improvement(*reversed(sides))
    assert float(there.value) + float(back.value) == pytest.approx(1)
    if there.low.notnull():
        assert float(there.low) <= float(there.value) <= float(there.high)


@settings(max_examples=25)
@given(numbers)
def test_profiles_fall_from_all_runs_to_none(values: np.ndarray) -> None:
    found = performance_profile(scores(values, ("seed",)), np.linspace(-4, 4, 9))
    assert found.value.values[0] == 1
    assert found.value.values[-1] == 0
    assert (np.diff(found.value) <= 0).all()


def test_lazy_scores_are_not_read_until_the_result_is() -> None:
    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("read")

    forbidden = dask.array.zeros((3, 4, 6), chunks=(1, 4, 2)).map_blocks(read, dtype=float, meta=np.empty((0, 0, 0)))
    lazy = xr.DataArray(forbidden, {"leader_lr": [1, 2, 3]}, ("leader_lr", "matrix", "seed"))
    for found in (
        aggregate(lazy, ["matrix"]),
        performance_profile(lazy, [0, 1], ["matrix"]),
        probability_of_improvement(lazy.isel(leader_lr=0), lazy.isel(leader_lr=1), ["matrix"]),
        xr.Dataset({"low": bootstrap_interval(lazy)}),
    ):
        assert found.low.chunks is not None
        with pytest.raises(AssertionError, match="read"):
            found.load()


def test_lazy_scores_give_the_same() -> None:
    values = scores(np.random.default_rng(0).normal(size=(3, 4, 6)), ("leader_lr", "matrix", "seed"))
    lazy = values.chunk({"leader_lr": 2, "matrix": 1, "seed": 2})
    xr.testing.assert_identical(aggregate(lazy, ["matrix"]).load(), aggregate(values, ["matrix"]))
    xr.testing.assert_identical(bootstrap_interval(lazy).load(), bootstrap_interval(values))


def test_a_mistake_is_one_line() -> None:
    values = scores([[1.0, 2.0]])
    with pytest.raises(StackpopError, match=r"^strata: expected dims of the scores, got 'matirx'; did you mean 'matri"):
        aggregate(values, ["matirx"])
    with pytest.raises(StackpopError, match=r"^strata: .* leave strata out"):
        aggregate(values.isel(matrix=0, drop=True), ["matrix"])
    with pytest.raises(StackpopError, match=r"^scores: expected the same labels of matrix on both sides, got others; "):
        probability_of_improvement(values, values.assign_coords(matrix=[7]))
    for function in (aggregate, performance_profile, bootstrap_interval):
        with pytest.raises(StackpopError, match=r"^confidence: expected a share between 0 and 1, got 95; "):
            function(values, confidence=95)
