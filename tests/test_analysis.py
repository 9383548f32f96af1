"""Analysis on small datasets whose answers are known by hand."""

import numpy as np
import pytest
import xarray as xr

from stackpop.analysis import (
    bootstrap_interval,
    check_claims,
    compare,
    converged,
    final,
    run_values,
    select,
    steps_to_equilibrium,
    summary,
)
from stackpop.errors import StackpopError
from stackpop.spec import Claim, Quantity
from stackpop.spec.search import Range, SearchSettings, SearchSpec

NAN = np.nan
EXACT = {"equilibrium_pure": 10.0, "equilibrium_resample": 15.0, "leader_return_min": 0.0, "leader_return_max": 100.0}


def results(gaps: list[list[list[float]]], status: list[list[int]]) -> xr.Dataset:
    """A dataset [matrix, seed, iteration] with equilibrium 10 and returns between 0 and 100."""
    gap = xr.DataArray(gaps, dims=("matrix", "seed", "iteration"))
    coords = {
        "matrix": [f"game{i}" for i in range(gap.sizes["matrix"])],
        "seed": range(1, 1 + gap.sizes["seed"]),
        "iteration": range(1, 1 + gap.sizes["iteration"]),
    }
    exact = EXACT
    dataset = xr.Dataset({"equilibrium_gap": gap, "leader_return": 10 - gap, "leader_return_greedy": 10 - gap})
    dataset["status"] = (("matrix", "seed"), status)
    each = {name: ("matrix", [value] * gap.sizes["matrix"]) for name, value in exact.items()}
    return dataset.assign_coords(coords | each)


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


# Paired comparisons -------------------------------------------------------------------------------------------------

RATES, GAMES, SEEDS = [0.1, 0.2, 0.4], ["hero", "battle"], [1, 2, 3, 4, 5]


def swept(returns: np.ndarray, status: np.ndarray | None = None) -> xr.Dataset:
    """A dataset [leader_lr, matrix, early, seed] with constant curves, or with the given ones [..., iteration]."""
    shape = (len(RATES), len(GAMES), 2, len(SEEDS))
    dims = ("leader_lr", "matrix", "early", "seed")
    curves = np.broadcast_to(returns, (*shape, np.shape(returns)[-1])).astype("float32")
    kinds = np.broadcast_to(2 if status is None else status, shape)
    steps = np.arange(1, 1 + curves.shape[-1])
    done = (kinds == 2)[..., None]
    return xr.Dataset(
        {
            "leader_return": ((*dims, "iteration"), np.where(done, curves, NAN)),
            "equilibrium_gap": ((*dims, "iteration"), np.where(done, 10 - curves, NAN)),
            "post_leader_return": ((*dims, "post_iteration"), np.where(done, curves[..., :2] + 1, NAN)),
            "env_steps": ((*dims, "iteration"), np.where(done, 100 * steps, -1)),
            "leader_policy": ((*dims, "iteration", "state"), np.zeros((*curves.shape, 2))),
            "wall_seconds": (dims, np.where(kinds == 2, 1.5, NAN)),
            "status": (dims, kinds),
        },
        {
            "leader_lr": RATES,
            "matrix": GAMES,
            "early": [False, True],
            "seed": SEEDS,
            "iteration": steps,
            "post_iteration": steps[:2],
            **{name: ("matrix", [value] * 2) for name, value in EXACT.items()},
        },
    )


def along(*values: float) -> np.ndarray:
    """Values along leader_lr, for `swept`."""
    return np.array(values)[:, None, None, None, None]


@pytest.fixture
def noisy() -> xr.Dataset:
    """Returns of which the seed explains nearly everything: only pairs tell that a higher rate costs 1 or 2."""
    seeds = np.array([0.0, 100, -30, 50, 7])[:, None]
    noise = np.random.default_rng(0).normal(size=(3, 2, 2, 5, 1)) / 100
    return swept(along(0, -1, -2) + seeds + noise)


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


# Claims -------------------------------------------------------------------------------------------------------------


def claim(relation: str, right: float, variable: str = "leader_return", **where: object) -> Claim:
    """At a rate of 0.1 a variable is … than at another rate."""
    left, other = (Quantity(variable, where={"leader.lr": rate}) for rate in (0.1, right))
    return Claim("text", left, relation, other, {axis: (label,) for axis, label in where.items()})


def statuses(results: xr.Dataset, *claims: Claim) -> list[str]:
    return [found.status for found in check_claims(results, claims)]


def test_a_claim_holds_where_its_interval_leaves_no_doubt(noisy: xr.Dataset) -> None:
    (found,) = check_claims(noisy, [claim("greater", 0.2)])
    row = compare(noisy, "leader.lr", pooled=True).isel(pair=0)
    assert (found.status, found.reason, found.pairs, found.missing) == ("held", "", 20, 0)
    assert (found.difference, found.low, found.high) == (row.difference.item(), row.low.item(), row.high.item())
    assert (found.left, found.right) == (row.left_mean.item(), row.right_mean.item())
    wrong = [claim(relation, 0.2) for relation in ("less", "equal", "at_most")]
    assert statuses(noisy, *wrong, claim("at_least", 0.2)) == ["not held"] * 3 + ["held"]


def test_a_doubtful_difference_is_neither_greater_nor_less() -> None:
    seeds = np.array([3.0, -1, 2, -2, 1])[:, None]
    doubtful = swept(seeds * along(1, 0, 0))
    assert statuses(doubtful, *(claim(r, 0.2) for r in ("greater", "less", "at_least", "at_most"))) == ["not held"] * 4


def test_equality_is_no_doubt_either_way() -> None:
    same = swept(along(0.1, 0.1, 7))
    kinds = ["greater", "less", "equal", "at_least", "at_most"]
    expected = ["not held", "not held", "held", "held", "held"]
    assert statuses(same, *(claim(kind, 0.2) for kind in kinds)) == expected
    fixed = [Claim("t", Quantity("leader_return", where={"leader.lr": 0.1}), kind, 0.1) for kind in kinds]
    assert statuses(same, *fixed) == expected  # although the float32 nearest to 0.1 is above it


def test_the_last_bit_is_no_difference_to_be_sure_of() -> None:
    found = swept(along(np.nextafter(np.float32(15), np.float32(16)), 15, 0))
    assert statuses(found, claim("greater", 0.2), claim("at_most", 0.2), claim("equal", 0.2)) == [
        "not held", "held", "not held",
    ]  # fmt: skip
    assert not compare(found, "leader.lr").excludes_zero.isel(pair=0).any()


def test_equal_means_every_pair() -> None:
    returns = np.zeros((3, 2, 2, 5, 1))
    returns[0, 0, 0, :2, 0] = 1e-3, -1e-3  # of mean 0
    assert statuses(swept(returns), claim("equal", 0.2), claim("equal", 0.2, matrix="battle")) == ["not held", "held"]


def test_a_claim_is_open_until_its_own_runs_are_done() -> None:
    status = np.full((3, 2, 2, 5), 2)
    status[1, 0, 0, 0] = 1
    results = swept(along(2, 1, 0), status)
    wanted = [claim("greater", 0.2, matrix="hero"), claim("greater", 0.2), claim("equal", 0.2), claim("greater", 0.4)]
    part, whole, equal, other = check_claims(results, wanted)
    assert (part.status, part.reason, part.missing) == ("open", "1 of 10 pairs not done", 1)
    assert whole.status == "open"
    assert equal.status == "not held"  # one unequal pair decides
    assert other.status == "held"
    assert statuses(swept(along(1, 1, 0), status), claim("equal", 0.2)) == ["open"]


def test_a_claim_about_few_seeds_is_open_but_for_equality(noisy: xr.Dataset) -> None:
    few = noisy.isel(seed=slice(4))
    (found,) = check_claims(few, [claim("greater", 0.2)])
    assert (found.status, found.reason) == ("open", "4 of 5 seeds")
    assert found.low > 0
    alone = swept(along(1, 1, 1)).isel(seed=0)
    assert statuses(alone, claim("equal", 0.2), claim("at_least", 0.2)) == ["held", "open"]


def test_a_claim_may_be_about_any_update_and_share() -> None:
    curve = np.broadcast_to(np.arange(1.0, 61), (3, 2, 2, 5, 60))

    def value(at: object, variable: str = "leader_return") -> float:
        (found,) = check_claims(swept(curve), [Claim("t", Quantity(variable, at), "at_least", 0)])
        return found.left

    assert [value(at) for at in ("end", "last", "first", 7)] == [35.5, 60, 1, 7]
    assert [value(at, "post_leader_return") for at in ("end", "last", "first", 2)] == [2.5, 3, 2, 3]
    (late,) = check_claims(swept(curve), [Claim("t", Quantity("leader_return", 61), "at_least", 0)])
    assert (late.status, late.pairs, late.reason) == ("open", 0, "60 of 60 pairs not done")
    ten = swept(along(10, 10, 8))
    share = Claim("t", Quantity("converged"), "at_most", 0.7)
    assert check_claims(ten, [share])[0].left == pytest.approx(2 / 3)
    exact = Claim("t", Quantity("leader_return"), "at_most", Quantity("equilibrium_pure"))
    assert check_claims(ten, [exact])[0].difference == pytest.approx(-2 / 3)


def test_both_sides_of_a_claim_share_where() -> None:
    returns = along(0, 1, 2) * np.array([1.0, 10])[:, None, None, None]
    only = Claim("t", Quantity("leader_return"), "at_least", 0, {"matrix": ("battle",), "leader.lr": (0.2, 0.4)})
    (found,) = check_claims(swept(returns), [only])
    assert (found.left, found.pairs) == (15, 20)


def test_a_sweep_without_post_training_leaves_claims_about_it_open() -> None:
    results = swept(along(1, 2, 3)).isel(post_iteration=slice(0))
    assert statuses(results, claim("less", 0.2, "post_leader_return")) == ["open"]


# Steps to the equilibrium -------------------------------------------------------------------------------------------


def steps(gaps: list[float], window: int = 2, pretraining: int = 1000) -> float:
    """Of one run with 100 steps an update; a gap of up to 1 is within 1 % of the span, one of -6 of the optimum."""
    found = results([[gaps]], [[2]])
    env_steps = [-1 if np.isnan(gap) else 100 * update for update, gap in enumerate(gaps, 1)]
    found["env_steps"] = (("matrix", "seed", "iteration"), [[env_steps]])
    found["pretraining_steps"] = (("matrix", "seed"), [[pretraining]])
    return steps_to_equilibrium(found, window).item()


def test_steps_to_equilibrium_are_those_until_the_gap_stays_small_and_those_of_pretraining() -> None:
    assert steps([9, 9, 1, 0, 0]) == 1000 + 300
    assert steps([9, 9, 1, 0, 0], pretraining=0) == 300
    assert steps([0, 0, 0, 0, 0]) == 1000 + 100
    assert steps([0, 0, 9, 0, 0]) == 1000 + 400  # it did not stay


def test_a_single_noisy_update_counts_as_its_mean_with_the_others() -> None:
    assert steps([9, 0, 1.5, 0, 0]) == 1000 + 200
    assert steps([9, 0, 1.5, 1.5, 0, 0]) == 1000 + 500


def test_a_run_that_ends_elsewhere_has_no_steps() -> None:
    assert np.isnan(steps([9, 0, 0, 9, 9]))
    assert np.isnan(steps([9, 0, 0, 0, 9]))
    assert np.isnan(steps([9, 0, -20, -20, -20]))  # more than the optimum of the protocol
    assert steps([-20, 0, -5, -5, -5]) == 1000 + 200


def test_shorter_runs_are_judged_by_the_updates_that_they_made() -> None:
    assert steps([9, 0, 0, NAN, NAN]) == 1000 + 200
    assert np.isnan(steps([NAN, NAN, NAN]))
    assert steps([0], window=50) == 1000 + 100


def test_a_run_has_steps_exactly_if_it_converged() -> None:
    rng = np.random.default_rng(3)
    gap = rng.normal(1.0, 0.3, (40, 5, 30)) + 5 * (np.arange(30) < rng.integers(0, 30, (40, 5, 1)))
    found = results(gap.tolist(), np.full((40, 5), 2).tolist())
    found["env_steps"] = (("matrix", "seed", "iteration"), np.broadcast_to(np.arange(30), gap.shape))
    found["pretraining_steps"] = (("matrix", "seed"), np.zeros((40, 5)))
    ends = converged(found, 5)
    assert 0.1 < ends.mean() < 0.9
    np.testing.assert_array_equal(steps_to_equilibrium(found, 5).notnull(), ends)


def test_unknown_pretraining_is_one_line() -> None:
    with pytest.raises(StackpopError, match=r"results: expected the variable pretraining_steps, got .*; add it by"):
        steps_to_equilibrium(results([[[0.0]]], [[2]]))


def with_steps(curves: np.ndarray) -> xr.Dataset:
    found = swept(curves)
    return found.assign(pretraining_steps=found.status * 0)


def test_a_claim_about_steps_leaves_out_pairs_of_which_one_never_converges() -> None:
    curves = np.full((3, 2, 2, 5, 100), 10.0)
    curves[1, ..., :20] = 0  # later by 20 updates
    curves[1, 0, 0, 0] = 0  # never
    found, fewer = with_steps(curves), claim("less", 0.2, "steps_to_equilibrium")
    (outcome,) = check_claims(found, [fewer])
    assert (outcome.status, outcome.pairs, outcome.missing) == ("held", 19, 1)
    assert (outcome.left, outcome.difference) == (100, -2000)
    found["status"] = found.status.where(found.seed != 5, 0)
    (outcome,) = check_claims(found, [fewer])
    assert (outcome.status, outcome.reason) == ("open", "4 of 20 pairs not done")
    curves[1] = 0
    (outcome,) = check_claims(with_steps(curves), [fewer])
    assert (outcome.status, outcome.reason) == ("open", "no pair converged")


# The best trial -----------------------------------------------------------------------------------------------------

SETTINGS = SearchSettings(method="random", trials=3, objective="leader_return", window=50)
SEARCH = SearchSpec(SETTINGS, {"leader.lr": Range(0.1, 1.0)})
RETURN_OF = {trial: Quantity("leader_return", where={"trial": trial}) for trial in ("best", 0)}
PAYS = Claim("t", RETURN_OF["best"], "greater", RETURN_OF[0])


def trials(returns: list[list[float]]) -> xr.Dataset:
    """A search of three trials over five seeds."""
    found = swept(np.array(returns)[:, None, None, :, None]).isel(matrix=0, early=0)
    return found.rename(leader_lr="trial").assign_coords(trial=[0, 1, 2])


def test_the_best_trial_is_chosen_without_the_seed_that_it_is_judged_on() -> None:
    (found,) = check_claims(trials([[1] * 5, [0, 0, 0, 0, 30], [0, 0, 0, 29, 0]]), [PAYS], SEARCH)
    # Seeds 1 to 4 choose trial 1 for what it earned on seed 5, and seed 5 trial 2: none sees its own luck.
    assert (found.left, found.right, found.status) == (0, 1, "not held")


def test_a_trial_that_is_best_everywhere_is_the_best() -> None:
    (found,) = check_claims(trials([[1, 2, 3, 4, 5], [0] * 5, [2, 3, 4, 5, 7]]), [PAYS], SEARCH)
    assert (found.status, found.left, found.difference) == ("held", pytest.approx(4.2), pytest.approx(1.2))


def test_a_claim_about_the_best_trial_is_open_until_all_are_done() -> None:
    found = trials([[1] * 5, [2] * 5, [0] * 5])
    found["status"] = found.status.copy(data=np.where(np.arange(15).reshape(3, 5) == 14, 0, 2))
    (outcome,) = check_claims(found, [PAYS], SEARCH)
    assert (outcome.status, outcome.reason) == ("open", "5 of 5 pairs not done")
