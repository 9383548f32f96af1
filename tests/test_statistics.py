"""Whole sweeps of the paper's games beside an independent program and beside the exact equilibria.

fixtures/jax_population.json holds what an independent JAX program of the published protocol measured, the
command that made it, and what its numbers are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import mannwhitneyu, ttest_ind

from stackpop.equilibria import pure_commitment
from stackpop.games import CANONICAL
from stackpop.spec import RunSpec, load_sweep
from support import train

pytestmark = pytest.mark.slow

SWEEPS = Path(__file__).parents[1] / "sweeps"
RECORDED = json.loads((Path(__file__).parent / "fixtures" / "jax_population.json").read_text())["games"]
SEEDS = "axes.seed=" + str(list(range(101, 121)))
LEVEL = 0.01
PACK = 60
LAST = 50  # updates whose evaluations are averaged

Numbers = Mapping[str, Mapping[str, Sequence[float]]]  # game -> measure -> one number a seed


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    with ProcessPoolExecutor(
        2, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield pool


def measure(runs: Sequence[RunSpec]) -> list[dict[str, Any]]:
    """Train a pack; of each run, what the recorded program measured and how the leader ended."""
    found = []
    for spec, (follower, leader) in zip(runs, train(runs), strict=True):
        assert leader.error == ""
        curves = leader.arrays
        numbers = {name: float(curves[name][-1]) for name in ("leader_return", "leader_return_greedy")}
        numbers["leader_return_sampled"] = float(curves["leader_return_sampled"][-LAST:].mean())
        if follower is not None:
            numbers["follower_regret_sum"] = float(follower.arrays["follower_regret_sum"][-1])
        found.append(numbers | {"equilibrium": pure_commitment(spec.to_game()).optimistic, "matrix": spec.matrix})
    return found


def run_sweep(workers: Executor, sweep: str, *overrides: str) -> list[dict[str, Any]]:
    """All runs of a sweep file, packed, on two processes."""
    spec = load_sweep(SWEEPS / sweep, overrides)
    runs = [spec.run(index) for index in spec.indices()]
    packs = [runs[first : first + PACK] for first in range(0, len(runs), PACK)]
    return [result for pack in workers.map(measure, packs) for result in pack]


def by_game(results: Sequence[Mapping[str, Any]]) -> Numbers:
    measures = ("leader_return_sampled", "follower_regret_sum")
    return {
        game: {name: [result[name] for result in results if result["matrix"] == game] for name in measures}
        for game in CANONICAL
    }


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Adjusted p-values (Holm, 1979): the i-th smallest of n times n - i, made monotone."""
    adjusted: dict[Any, float] = {}
    largest = 0.0
    for i, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - i) * p_values[key]))
        adjusted[key] = largest
    return adjusted


def rejected(found: Numbers, test: Any) -> dict[tuple[str, str], float]:
    """The comparisons with the recorded program that a two-sample test rejects, and their adjusted p-values."""
    p_values = {
        (game, name): float(test(found[game][name], numbers).pvalue)
        for game, measures in RECORDED.items()
        for name, numbers in measures.items()
    }
    assert len(p_values) == 24
    return {key: p for key, p in holm(p_values).items() if p < LEVEL}


welch = partial(ttest_ind, equal_var=False)


@pytest.fixture(scope="module")
def allmatrices(workers: Executor) -> Numbers:
    return by_game(run_sweep(workers, "allmatrices.yaml", SEEDS))


@pytest.mark.parametrize("test", [welch, mannwhitneyu], ids=["welch", "mann-whitney"])
def test_allmatrices_agrees_with_an_independent_program(allmatrices: Numbers, test: Any) -> None:
    assert rejected(allmatrices, test) == {}


def test_the_comparison_sees_shorter_training(workers: Executor) -> None:
    found = by_game(run_sweep(workers, "allmatrices.yaml", SEEDS, "follower.updates=300", "leader.updates=80"))
    for test in (welch, mannwhitneyu):
        assert {name for _, name in rejected(found, test)} == {"leader_return_sampled", "follower_regret_sum"}


def test_the_comparison_sees_a_value_loss_that_is_not_clipped(workers: Executor) -> None:
    """Means hardly move, so only the rank test has the power."""
    found = by_game(run_sweep(workers, "allmatrices.yaml", SEEDS, "leader.value_clip=null"))
    assert {name for _, name in rejected(found, mannwhitneyu)} == {"leader_return_sampled"}


def test_holm_adjusts_as_published() -> None:
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p_values) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


def test_replayed_leaders_end_on_the_pure_equilibrium(workers: Executor) -> None:
    results = run_sweep(workers, "allmatrices_replay.yaml")
    assert len(results) == 60
    for result in results:
        assert result["leader_return_greedy"] == pytest.approx(result["equilibrium"], abs=1e-9), result
        # A stochastic leader still tries now and then what it has given up.
        assert result["leader_return"] == pytest.approx(result["equilibrium"], rel=0.02), result
