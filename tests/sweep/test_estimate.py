"""What a sweep is going to take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from command import TINY
from stackpop.spec import RunSpec, SweepSpec
from stackpop.store import Status
from stackpop.sweep import SweepOptions
from stackpop.sweep.estimate import _kinds, estimate
from stackpop.sweep.plan import index_at, packs
from tiny_sweep import plan_of, sweep

WIDE = "payoffs: {wide: [[[1, 2], [3, 4], [5, 6]]]}\n"


@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"matrix": "[chicken, wide, battle]", "leader__lr": "[0.1, 0.2]", "game__reward_offset": "[0, 1]"},
        {"leader__algorithm": "[pg, ppo]", "follower__early_stop": "[false, true]", "game__memory": "[none, joint]"},
        {"evaluation_episodes": "[1, 2]", "commitment": "[resample, replay]", "follower__post_updates": "[0, 1, 2]"},
    ],
)
def test_kinds_are_the_runs_that_can_share_a_pack(axes: dict[str, str]) -> None:
    text = TINY.replace("algorithm: pg, ", "").replace("evaluation_episodes: 2\n", "")
    text = text.replace("memory: opponent, ", "").replace(", post_updates: 2", "")
    spec = sweep(WIDE + text, **{f"axes__{axis}": values for axis, values in axes.items()})
    leaders = np.zeros(spec.shape, dtype=np.int8)
    leaders.flat[::3] = Status.DONE
    plan = plan_of(spec, leaders=leaders)
    keys = [spec.run(index_at(spec, flat)).pack_key for flat in plan.pending]
    kinds = _kinds(plan).tolist()
    assert len(set(zip(keys, kinds, strict=True))) == len(set(keys)) == len(set(kinds))


def test_estimate_does_not_depend_on_the_order_of_an_axis(tmp_path: Path) -> None:
    text = TINY.replace("{updates: 4, batch_steps: 20, post_updates: 2}", "{}")
    found = [
        median(
            estimate(sweep(text, axes__follower__oracle=order), SweepOptions(tmp_path / "s.zarr")).seconds
            for _ in range(3)
        )
        for order in ("[exact, contextual]", "[contextual, exact]")
    ]
    # A follower takes a thousand updates, a leader four: to price one as the other would be wrong a hundredfold.
    assert max(found) < 10 * min(found)


def test_estimate_times_packs_that_a_sweep_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Sequence[RunSpec]] = []
    monkeypatch.setattr("stackpop.sweep.estimate._prices", lambda runs: timed.append(runs) or (1.0, 1.0))
    plan = estimate(sweep(axes__seed=str(list(range(40)))), SweepOptions(tmp_path / "s.zarr", runs_per_task=24)).plan
    assert timed == [[run for _, run in next(packs(plan))]]


def test_estimate_of_many_runs_makes_few_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep(axes__seed=str(list(range(5000))), axes__leader__batch_steps=str([20 + 2 * k for k in range(10)]))
    made = []
    run_at = SweepSpec.run
    monkeypatch.setattr(SweepSpec, "run", lambda self, index: made.append(index) or run_at(self, index))
    plan = estimate(spec, SweepOptions(tmp_path / "s.zarr", runs_per_task=2)).plan
    assert len(plan.pending) == 100_000
    assert len(made) < 20
