"""Environment steps until a run is at the equilibrium, on curves whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from known_results import NAN, claim, results, swept
from stackpop.analysis import check_claims, converged, steps_to_equilibrium
from stackpop.errors import StackpopError


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
