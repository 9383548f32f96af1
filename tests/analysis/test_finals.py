"""How runs ended, over seeds, on small datasets whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from known_results import EXACT, NAN, results
from stackpop.analysis import bootstrap_interval, converged, final, summary


def test_final_is_the_mean_over_the_last_iterations_that_a_run_made() -> None:
    curve = results([[[9, 4, 2], [8, 6, NAN]]], [[2, 2]]).equilibrium_gap
    np.testing.assert_array_equal(final(curve, window=2), [[3, 7]])


def test_a_run_that_is_not_done_is_missing_and_not_converged() -> None:
    found = results([[[NAN, NAN], [0, 0]]], [[0, 2]])
    np.testing.assert_array_equal(final(found.equilibrium_gap), [[NAN, 0]])
    np.testing.assert_array_equal(converged(found), [[False, True]])


def test_converged_allows_one_percent_of_the_span_beyond_the_equilibrium_and_the_optimum_of_the_protocol() -> None:
    found = results([[[1.0], [1.01], [-6.0], [-6.01]]], [[2, 2, 2, 2]])
    np.testing.assert_array_equal(converged(found), [[True, False, True, False]])


def test_converged_has_no_upper_bound_where_the_optimum_of_the_protocol_is_unknown() -> None:
    found = results([[[-50.0]]], [[2]])
    assert converged(found.assign_coords(equilibrium_resample=np.nan)).all()


def test_bootstrap_interval_is_that_of_two_equally_likely_values() -> None:
    low, high = bootstrap_interval(xr.DataArray([0.0, 1.0], dims="seed")).values
    assert (low, high) == (0, 1)  # each is the mean of a quarter of all resamples


def test_bootstrap_interval_narrows_with_seeds_and_is_the_same_every_time() -> None:
    values = xr.DataArray(np.random.default_rng(1).normal(size=(2, 400)), dims=("matrix", "seed"))
    many, few = (np.ptp(bootstrap_interval(values.isel(seed=slice(n))).values, axis=1) for n in (400, 25))
    assert (many < few / 2).all()
    xr.testing.assert_identical(bootstrap_interval(values), bootstrap_interval(values))
    expected = values.mean("seed").values[:, None] + np.array([-1, 1]) * 1.96 / 20
    np.testing.assert_allclose(bootstrap_interval(values), expected, atol=0.02)


@pytest.mark.parametrize("values", [[3.0], [NAN, 3.0], [NAN]])
def test_one_seed_or_none_gives_no_interval(values: list[float]) -> None:
    assert np.isnan(bootstrap_interval(xr.DataArray(values, dims="seed"))).all()


def test_summary_counts_what_is_missing() -> None:
    found = summary(results([[[0.0], [2.0]], [[NAN], [4.0]]], [[2, 2], [3, 2]]))
    np.testing.assert_array_equal(found.equilibrium, [10, 10])
    np.testing.assert_array_equal(found.leader_return, [9, 6])
    np.testing.assert_array_equal(found.gap, [1, 4])
    np.testing.assert_array_equal(found.converged, [1, 0])
    np.testing.assert_array_equal(found.done, [2, 1])
    np.testing.assert_array_equal(found.runs, [2, 2])


@pytest.mark.parametrize(
    "dims", [(), ("seed",), ("matrix",), ("leader_lr",), ("game_memory", "matrix", "early", "seed")]
)
def test_summary_of_any_axes(dims: tuple[str, ...]) -> None:
    exact = EXACT
    one = results([[[1.0, 1.0]]], [[2]]).isel(matrix=0, seed=0, drop=True)
    found = one.expand_dims({dim: [1, 2] for dim in dims})
    over = ("matrix",) if "matrix" in dims else ()  # exact values, like the store's, over what they depend on
    found = found.assign_coords({name: (over, np.full([2] * len(over), value)) for name, value in exact.items()})
    rows = summary(found)
    assert set(rows.done.dims) == set(dims) - {"seed"}
    expected = {"leader_return": 9, "gap": 1, "greedy_return": 9, "equilibrium": 10}
    for name, value in expected.items():
        assert (rows[name] == value).all()
    seeds = 2 if "seed" in dims else 1
    for name in ("converged", "done", "runs"):
        assert (rows[name] == seeds).all()
    assert bool(rows.low.notnull().all()) == (seeds > 1)
