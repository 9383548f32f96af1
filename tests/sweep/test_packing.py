"""How many runs a pack holds, and how its results travel."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpop.results import TrainingResult
from stackpop.sweep.packing import MOST_STEPS, PackSizes, most_runs
from stackpop.sweep.plan import LARGEST_PACK
from stackpop.sweep.stacks import stacked, unstacked
from support import run_spec
from tiny_sweep import plan_of, sweep


def test_memory_bounds_a_pack_of_large_batches() -> None:
    small, large = (
        run_spec(),
        run_spec(leader={"algorithm": "ppo", "batch_steps": 80_000}, follower={"oracle": "tabular_q"}),
    )
    assert most_runs(small) >= LARGEST_PACK
    assert 1 <= most_runs(large) <= MOST_STEPS // 80_000
    assert most_runs(run_spec(leader={"algorithm": "ppo", "batch_steps": 10**9})) == 1
    assert most_runs(run_spec(leader={"algorithm": "ppo", "batch_steps": 10, "updates": 10**6})) == 1, (
        "curves take memory, too"
    )
    plan = plan_of(sweep(axes__seed=str(list(range(1000)))), runs_per_task="auto")
    assert PackSizes(plan, 2).of(large) == most_runs(large)


@pytest.mark.parametrize(
    ("seconds", "runs", "expected"),
    [
        (1e-5, 40_000, 1024),  # as large as packs get
        (1e-5, 3000, 256),  # few are left: all threads must stay busy
        (2 / 300, 40_000, 256),  # about two seconds
        (0.1, 40_000, LARGEST_PACK),
        (30.0, 40_000, 20),  # ten minutes
        (1e4, 40_000, 16),
        (1e-5, 100, 50),
    ],
)
def test_packs_follow_what_the_last_one_took(seconds: float, runs: int, expected: int) -> None:
    plan = plan_of(sweep(axes__seed=str(list(range(runs // 2)))), runs_per_task="auto")
    sizes, spec = PackSizes(plan, 2), plan.spec.run((0, 0))
    planned = sizes.of(spec)
    sizes.took(spec, [TrainingResult({}, "broken", wall_seconds=1e9)])
    assert sizes.of(spec) == planned == min(LARGEST_PACK, runs // 2)
    sizes.took(spec, [TrainingResult({}, wall_seconds=seconds)])
    assert sizes.of(spec) == expected
    sizes.handed_out(runs)
    assert sizes.of(spec) <= max(LARGEST_PACK, planned)
    fixed = PackSizes(plan_of(plan.spec, runs_per_task=3), 2)
    fixed.took(spec, [TrainingResult({}, wall_seconds=seconds)])
    assert fixed.of(spec) == 3


RESULTS = st.lists(
    st.builds(
        lambda lengths, **given: TrainingResult(
            {k: np.random.default_rng(n).random(n) for k, n in lengths.items()}, **given
        ),
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
        error=st.sampled_from(["", "broken"]),
        wall_seconds=st.floats(0, 10),
    )
)


@given(RESULTS)
def test_stacks_give_the_same_results(results: list[TrainingResult]) -> None:
    again = unstacked(pickle.loads(pickle.dumps(stacked(results))))
    assert len(again) == len(results)
    for one, other in zip(again, results, strict=True):
        assert replace(one, arrays={}) == replace(other, arrays={})
        assert one.arrays.keys() == other.arrays.keys()
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name], strict=True)
