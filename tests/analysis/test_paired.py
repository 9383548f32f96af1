"""Paired comparisons on small datasets whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from known_results import along, swept
from stackpop.analysis import bootstrap_interval, compare, run_values, select
from stackpop.errors import StackpopError


def test_compare_takes_the_first_value_against_each_other_one(noisy: xr.Dataset) -> None:
    found = compare(noisy, "leader.lr")
    assert found.sizes == {"pair": 2, "matrix": 2, "early": 2}
    assert (found.left.values.tolist(), found.right.values.tolist()) == ([0.1, 0.1], [0.2, 0.4])
    np.testing.assert_allclose(found.difference.isel(pair=0), 1, atol=0.03)
    np.testing.assert_allclose(found.difference.isel(pair=1), 2, atol=0.03)
    np.testing.assert_allclose(found.left_mean - found.right_mean, found.difference)
    assert ((found.low <= found.difference) & (found.difference <= found.high) & (found.high - found.low < 0.1)).all()
    assert found.excludes_zero.all()
    assert (found.pairs == 5).all()
    assert (found.missing == 0).all()


def test_dims_and_axes_are_both_names(noisy: xr.Dataset) -> None:
    xr.testing.assert_identical(compare(noisy, "leader_lr"), compare(noisy, "leader.lr"))


def test_pooling_averages_each_seed_first() -> None:
    """The interval is that of five seeds, not of the twenty pairs, whose differences repeat within a seed."""
    differences = np.array([0.0, 1, 2, 3, 4])
    returns = np.zeros((3, 2, 2, 5, 1))
    returns[0] = differences[:, None]
    found = compare(swept(returns), "leader.lr", pooled=True)
    assert found.sizes == {"pair": 2}
    assert (found.pairs == 20).all()
    assert (found.difference == 2).all()
    expected = bootstrap_interval(xr.DataArray(differences, dims="seed"))
    np.testing.assert_allclose(found.low, expected.sel(bound="low"))
    np.testing.assert_allclose(found.high, expected.sel(bound="high"))
    assert (found.high - found.low > 2).all()


def test_runs_that_are_not_done_take_their_partner_along() -> None:
    status = np.full((3, 2, 2, 5), 2)
    status[0, 0, 0, 1] = 3  # failed
    status[1, 0, 0, 4] = 0
    seeds = np.array([1.0, 100, 1, 1, 1000])[:, None]
    found = compare(swept(along(0, 0, 0) + seeds, status), "leader.lr")
    first = found.isel(matrix=0, early=0)
    assert (first.pairs.values.tolist(), first.missing.values.tolist()) == ([3, 4], [2, 1])
    assert (first.left_mean.values.tolist(), first.right_mean.values.tolist()) == ([1, 250.75], [1, 250.75])
    pooled = compare(swept(along(0, 0, 0) + seeds, status), "leader.lr", pooled=True)
    assert pooled.missing.values.tolist() == [2, 1]
    assert (pooled.difference == 0).all()
    assert not pooled.excludes_zero.any()


def test_a_run_in_flight_counts_for_nothing_whatever_it_holds() -> None:
    found = swept(along(1, 2, 3))
    found["status"] = found.status.where((found.seed != 2) | (found.leader_lr != 0.1), 1)
    assert (compare(found, "leader.lr").pairs == 4).all()


def test_a_curve_is_averaged_over_its_last_values_and_a_number_taken_as_it_is() -> None:
    results = swept(np.broadcast_to(along(1, 2, 3) * np.arange(60.0), (3, 2, 2, 5, 60)))
    ends = {"leader_return": 34.5, "post_leader_return": 1.5, "env_steps": 3550, "wall_seconds": 1.5}
    for variable, end in ends.items():
        assert (compare(results, "leader.lr", variable).left_mean == end).all(), variable
    assert (compare(results, "leader.lr", window=1).difference.isel(pair=0) == -59).all()
    assert (compare(results, "leader.lr", "converged").right_mean == 0).all()
    assert (compare(swept(along(9, 10, 10)), "leader.lr", "converged").difference == 0).all()
    assert (compare(swept(along(8, 10, 10)), "leader.lr", "converged").difference == -1).all()


def test_only_runs_of_some_labels() -> None:
    returns = along(0, 1, 2) * np.array([1.0, 10])[:, None, None, None]
    part = compare(swept(returns), "leader.lr", where={"matrix": "battle", "leader.lr": ["0.4", 0.2], "early": "true"})
    assert dict(part.sizes) == {"pair": 1}
    assert (part.left.item(), part.right.item(), part.difference.item()) == (0.4, 0.2, 10)
    both = compare(swept(returns), "matrix", where={"early": [False]})
    assert both.sizes == {"pair": 1, "leader_lr": 3, "early": 1}
    assert both.difference.values.ravel().tolist() == [0, -9, -18]


def test_lazy_results_give_the_same(noisy: xr.Dataset) -> None:
    lazy = noisy.chunk({"seed": 2, "iteration": 1})
    for pooled in (False, True):
        xr.testing.assert_allclose(compare(lazy, "early", pooled=pooled), compare(noisy, "early", pooled=pooled))
    ends = run_values(lazy, "leader_return")
    assert not ends.chunks
    xr.testing.assert_allclose(compare(ends, "early"), compare(noisy, "early"))


def test_without_seeds_there_is_a_difference_and_no_interval(noisy: xr.Dataset) -> None:
    for few in (noisy.isel(seed=0), noisy.isel(seed=[0])):
        found = compare(few, "leader.lr", pooled=True)
        np.testing.assert_allclose(found.difference, [1, 2], atol=0.03)
        assert found.low.isnull().all()
        assert not found.excludes_zero.any()
        assert (found.pairs == 4).all()


COMPARE_MISTAKES = {
    "axis": ({"over": "leader.lrr"}, "over: expected a swept axis .*, got 'leader.lrr'; did you mean 'leader_lr'"),
    "seed": ({"over": "seed"}, "over: expected an axis other than seed"),
    "one value": ({"over": "matrix", "where": {"matrix": "hero"}}, "over: expected two values of matrix, got one; "),
    "variable": ({"over": "matrix", "variable": "return"}, "variable: expected one of one number a run .*'return'; "),
    "table": ({"over": "matrix", "variable": "leader_policy"}, "got 'leader_policy' over .*, state; "),
    "where": ({"over": "matrix", "where": {"lr": 1}}, "where: expected a swept axis of the store, got 'lr'; "),
    "label": ({"over": "matrix", "where": {"leader.lr": 1}}, "where: expected one of its values for leader.lr, got 1;"),
    "kind": ({"over": "matrix", "where": {"early": 1}}, "where: expected one of its values for early, got 1; known: F"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "line"), COMPARE_MISTAKES.values(), ids=COMPARE_MISTAKES.keys())
def test_a_mistake_in_a_comparison_is_one_line(noisy: xr.Dataset, arguments: dict[str, object], line: str) -> None:
    with pytest.raises(StackpopError, match=line) as caught:
        compare(noisy, **arguments)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


def test_no_pair_that_is_done_is_one_line() -> None:
    status = np.array([2, 0, 3])[:, None, None, None]
    with pytest.raises(StackpopError, match=r"runs: expected a pair that is done, got none; .*status"):
        compare(swept(along(1, 2, 3), status), "leader.lr")


def test_select_takes_labels_in_the_order_they_are_given(noisy: xr.Dataset) -> None:
    assert select(noisy, {"leader.lr": ["0.4", "1e-1", 0.4]}).leader_lr.values.tolist() == [0.4, 0.1]
    assert select(noisy, {"early": "False"}).early.item() is False
