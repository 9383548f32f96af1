"""Claims hold, do not hold or stay open as their runs say, those about the best trial of a search, too."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from known_results import along, claim, statuses, swept
from stackpop.analysis import check_claims, compare
from stackpop.spec import Claim, Quantity
from stackpop.spec.search import Range, SearchSettings, SearchSpec

# Claims -------------------------------------------------------------------------------------------------------------


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
