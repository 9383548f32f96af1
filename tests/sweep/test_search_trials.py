"""Trials wait for those that they learn from, and nothing is told before it is durable, or twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from searching import run
from small_search import search
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec
from stackpop.store import ResultsWriter, Status
from stackpop.sweep import make_plan
from stackpop.sweep.search import TPE, Trials
from stores import bits


def recorded(trials: Trials, writer: ResultsWriter, trial: int, error: str = "") -> None:
    """The runs of a trial come back, one after the other."""
    for rest in np.ndindex(2, 2):
        writer.leaders.record((trial, *rest), TrainingResult({"leader_return_sampled": np.ones(4)}, error))
        trials.recorded((trial, *rest))


def started_trials(trials: Trials, writer: ResultsWriter) -> list[int]:
    """The trials of the runs that can start now."""
    found = []
    while pack := trials.next_pack():
        for index, _ in pack:
            writer.leaders.mark_running(index)
            found.append(index[0])
    return sorted(set(found))


def trials_of(spec: SweepSpec, writer: ResultsWriter, *, retry_failed: bool = False) -> Trials:
    status, followers = writer.leaders.status, writer.followers
    assert spec.search is not None
    assert followers is not None
    plan = make_plan(spec, status, followers.status, retry_failed=retry_failed, runs_per_task=3, threads=2)
    return Trials(spec.search, plan, writer, lambda message: None, lambda spec: plan.runs_per_task)


def test_trials_wait_for_those_that_they_learn_from(tmp_path: Path) -> None:
    spec = search()
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        trials = trials_of(spec, writer)
        assert started_trials(trials, writer) == [0, 1]
        recorded(trials, writer, 1)
        writer.flush()
        assert started_trials(trials, writer) == []  # trial 2 learns from trial 0, and not from trial 1
        assert not trials.awaits_flush
        recorded(trials, writer, 0)
        assert started_trials(trials, writer) == []
        assert trials.awaits_flush
        writer.flush()
        assert not trials.awaits_flush
        assert started_trials(trials, writer) == [2, 3]
        for trial in range(2, 14):
            recorded(trials, writer, trial)
            writer.flush()
            started_trials(trials, writer)
        assert not trials.awaits_flush
        assert trials.next_pack() is None


def test_failed_trials_that_are_tried_again_are_told_afterwards(tmp_path: Path) -> None:
    spec = search()
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        first = trials_of(spec, writer)
        assert started_trials(first, writer) == [0, 1]
        recorded(first, writer, 0, error="no luck")
        recorded(first, writer, 1)
        writer.flush()
        assert started_trials(trials_of(spec, writer), writer) == [2, 3]
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        again = trials_of(spec, writer, retry_failed=True)
        assert started_trials(again, writer) == [0]
        recorded(again, writer, 0)
        assert started_trials(again, writer) == []
        writer.flush()
        assert started_trials(again, writer) == [2, 3]


def test_nothing_is_told_before_it_is_durable_or_twice(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told, asked = tmp_path / "s.zarr", [], []
    tell, ask = TPE.tell, TPE.ask

    def observed_tell(self: TPE, trial: int, objective: float | None) -> None:
        on_disk = bits(store).isel(trial=trial)  # as another process sees it at this moment
        assert (on_disk.status == Status.DONE).all()
        expected = on_disk.leader_return_sampled.mean().item()
        assert objective == pytest.approx(expected, rel=1e-6)
        told.append(trial)
        tell(self, trial, objective)

    def observed_ask(self: TPE, chosen: Any) -> Any:
        asked.append(len(told))
        return ask(self, chosen)

    monkeypatch.setattr(TPE, "tell", observed_tell)
    monkeypatch.setattr(TPE, "ask", observed_ask)
    run(client, search(), store, runs_per_task=1)
    assert told == list(range(12))  # nothing is chosen after the last two
    assert asked == [max(0, trial - 1) for trial in range(14)]  # trial k sees those up to k - at_once
