"""What a sweep is going to train, and in which groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command import TINY
from stackpop.display import progress_text
from stackpop.store import Status
from stackpop.sweep import Progress
from stackpop.sweep.plan import LARGEST_PACK, _pack_size, grouped, packs
from tiny_sweep import plan_of, sweep


def test_plan_of_an_empty_store_is_everything() -> None:
    plan = plan_of(sweep())
    assert (len(plan.pending), plan.done, plan.failed) == (4, 0, 0)
    assert (plan.followers_to_train, plan.followers_reused) == (4, 0)


@pytest.mark.parametrize(("retry", "pending", "failed"), [(False, [0, 3], 1), (True, [0, 2, 3], 0)])
def test_done_runs_stay_and_failed_ones_if_asked(retry: bool, pending: list[int], failed: int) -> None:
    leaders = np.array([[Status.PENDING, Status.DONE], [Status.FAILED, Status.RUNNING]], dtype=np.int8)
    followers = np.array([[Status.DONE, Status.PENDING], [Status.FAILED, Status.PENDING]], dtype=np.int8)
    plan = plan_of(sweep(), leaders=leaders, followers=followers, retry_failed=retry)
    assert plan.pending.tolist() == pending
    assert (plan.done, plan.failed) == (1, failed)
    assert plan.followers_reused == 1
    assert plan.followers_to_train == len(pending) - 1


def test_leaders_that_differ_in_their_own_settings_share_a_follower() -> None:
    plan = plan_of(sweep(axes__leader__lr="[0.1, 0.2, 0.3]"))
    assert len(plan.pending) == 12
    assert plan.followers_to_train == 4


def test_exact_oracles_train_no_follower() -> None:
    text = TINY.replace("follower: {updates: 4, batch_steps: 20, post_updates: 2}\n", "")
    plan = plan_of(sweep(text, axes__follower__oracle="[contextual, exact]"))
    assert len(plan.pending) == 8
    assert plan.followers_to_train == 4


@given(st.integers(0, 500), st.integers(1, 64))
def test_auto_packs_fill_every_thread(runs: int, threads: int) -> None:
    spec = sweep(axes__seed=str(list(range(max(1, runs)))), axes__matrix="[chicken]")
    leaders = np.full(spec.shape, Status.DONE, dtype=np.int8)
    leaders.flat[:runs] = Status.PENDING
    plan = plan_of(spec, leaders=leaders, runs_per_task="auto", threads=threads)
    assert 1 <= plan.runs_per_task <= LARGEST_PACK
    assert plan.tasks * plan.runs_per_task >= runs
    if plan.runs_per_task > 1:
        assert plan.tasks >= min(threads, runs) // 2
        assert (plan.runs_per_task - 1) * threads < runs


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_auto_packs_keep_threads_busy_to_the_end(runs: int, threads: int) -> None:
    size = _pack_size("auto", runs, threads)
    rounds = math.ceil(math.ceil(runs / size) / threads)  # packs that the busiest thread takes
    assert rounds * size <= max(runs / threads * 1.13, runs / threads + rounds)


@given(st.lists(st.sampled_from("abc")), st.integers(1, 5))
def test_groups_hold_every_item_once_in_order(keys: list[str], size: int) -> None:
    items = list(enumerate(keys))
    groups = list(grouped(iter(items), lambda item: item[1], lambda _: size))
    assert sorted(item for group in groups for item in group) == items
    for group in groups:
        assert len({key for _, key in group}) == 1
        assert 1 <= len(group) <= size
        assert group == sorted(group)
    for key in "abc":
        assert sum(len(group) < size for group in groups if group[0][1] == key) <= 1


def test_groups_come_as_soon_as_they_are_full() -> None:
    source = iter(["a", "b", "a", "c"])
    assert next(grouped(source, lambda item: item, lambda _: 2)) == ["a", "a"]
    assert list(source) == ["c"]


def test_packs_hold_the_pending_runs() -> None:
    leaders = np.array([[Status.DONE, Status.PENDING], [Status.PENDING, Status.PENDING]], dtype=np.int8)
    plan = plan_of(sweep(), leaders=leaders, runs_per_task=2)
    found = list(packs(plan))
    assert [[index for index, _ in pack] for pack in found] == [[(0, 1), (1, 0)], [(1, 1)]]
    assert found[0][0][1] == plan.spec.run((0, 1))


def test_packs_take_sixteen_seeds_of_everything_at_a_time() -> None:
    spec = sweep(axes__seed=str(list(range(40))), axes__leader__lr="[0.1, 0.2]")
    found = [[index for index, _ in pack] for pack in packs(plan_of(spec, runs_per_task=32))]
    seeds, lr = spec.dims.index("seed"), spec.dims.index("leader_lr")
    assert [{index[seeds] // 16 for index in pack} for pack in found] == [{0}, {0}, {1}, {1}, {2}]
    assert all({index[lr] for index in pack} == {0, 1} for pack in found)
    assert sorted(index for pack in found for index in pack) == list(np.ndindex(spec.shape))


def test_progress_line_calls_nothing_running_that_may_wait() -> None:
    progress = Progress(plan_of(sweep()), done=1, failed=0, in_flight=3, threads=1)
    assert progress_text(progress).startswith("1 done, 3 in flight, 0 failed | 0 followers")
