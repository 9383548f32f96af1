"""Which tasks are to blame for lost workers, decided from their starts alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stackpop.sweep.starts import Starts


def starts_of(*told: tuple[str, str]) -> Starts:
    """What was heard of (task, worker) pairs, a second apart."""
    starts = Starts()
    for now, (key, worker) in enumerate(told):
        starts.started(key, worker, now)
    return starts


def test_task_that_starts_again_lost_its_worker_alone() -> None:
    ((_, course),) = starts_of(("a", "w1"), ("a", "w2"), ("a", "w3")).running()
    assert (course.worker, course.since, course.losses, course.accompanied) == ("w3", 2, 2, False)


def test_tasks_of_one_worker_lose_it_together_whoever_is_heard_first() -> None:
    starts = starts_of(("a", "w1"), ("b", "w1"), ("b", "w2"))
    ((key, b),) = starts.running()  # a waits for a worker
    assert (key, b.losses, b.accompanied) == ("b", 1, True)
    starts.started("a", "w3", 9)
    a = dict(starts.running())["a"]
    assert (a.losses, a.accompanied) == (1, True), "the loss is counted once"


def test_task_that_ended_was_no_company() -> None:
    starts = starts_of(("a", "w1"))
    starts.ended("a")
    starts.started("b", "w1", 1)
    starts.started("b", "w2", 2)
    ((_, b),) = starts.running()
    assert (b.losses, b.accompanied) == (1, False)


def test_company_of_a_task_that_is_cut_loses_nothing() -> None:
    starts = starts_of(("a", "w1"), ("b", "w1"))
    starts.cut("a")
    assert not list(starts.running())
    starts.started("b", "w2", 3)
    ((_, b),) = starts.running()
    assert (b.losses, b.accompanied) == (0, False)


def test_lost_task_tells_how_it_went_and_is_forgotten() -> None:
    starts = starts_of(("a", "w1"), ("b", "w1"))
    a, b = starts.lost("a"), starts.lost("b")
    assert a is not None
    assert b is not None
    assert a.accompanied
    assert b.accompanied, "though a is forgotten by now"
    assert starts.lost("a") is None
    assert starts.lost("never started") is None


def test_only_tasks_in_flight_are_taken_in() -> None:
    starts = Starts()
    for key in ("a", "b"):
        starts.hear((1e9, {"key": key, "worker": "w"}))
    starts.take_in({"a"})
    assert [key for key, _ in starts.running()] == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["end", "start"])), max_size=60), st.integers(0, 3))
def test_neighbours_are_never_blamed_alone(events: list[tuple[str, str]], killer_restarts: int) -> None:
    """One worker at a time, new after each loss; only "x" ever loses it, and only tasks beside it share its losses."""
    starts, worker, there = Starts(), 0, set[str]()
    for now, (key, kind) in enumerate(events):
        if kind == "end":
            starts.ended(key)
            there.discard(key)
        elif key not in there:
            starts.started(key, f"w{worker}", now)
            there.add(key)
        if now % 7 == killer_restarts:
            starts.started("x", f"w{worker}", now)
            worker += 1  # x ends it; whatever was there starts again, x last
            for again in sorted(there):
                starts.started(again, f"w{worker}", now)
            starts.started("x", f"w{worker}", now)
            starts.ended("x")
    assert all(course.accompanied for _, course in starts.running() if course.losses)
