"""`stackpop watch`: what it refuses, and how it follows a store; a browser looks at it in test_browser.py."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import stackpop, until
from stackpop.report import live
from stackpop.report.live import Drawn, LiveReport
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.store import ResultsWriter
from support import trained_store

TEXT = """\
game: {memory: none, rounds: 2}
leader: {algorithm: pg, updates: 3, batch_steps: 10}
follower: {oracle: exact}
evaluation_episodes: 1
axes: {matrix: [chicken, hero], seed: [1, 2]}
"""


@pytest.fixture(scope="module")
def spec() -> SweepSpec:
    return parse_sweep(TEXT, "short")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, spec: SweepSpec) -> Path:
    return trained_store(tmp_path_factory.mktemp("watch") / "short.zarr", spec, left_out=1)


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "short.zarr"))


@contextmanager
def followed(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveReport]:
    """The report of a store, looked at often."""
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.05)
    report = LiveReport(str(store), 0.0)
    thread = threading.Thread(target=report.follow)
    thread.start()
    try:
        yield report
    finally:
        report.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_it_is_drawn_anew_when_runs_end_and_not_before(
    store: Path, spec: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with followed(store, monkeypatch) as report:
        until(lambda: report.drawn.figures)
        first = report.drawn
        assert first.title == "short"
        assert "4 runs: 1 pending, 3 done" in first.start
        assert "Leader returns" in first.figures
        with ResultsWriter(store, spec) as writer:
            writer.leaders.mark_running((1, 1))
            writer.flush()
            until(lambda: "being written now" in report.drawn.start)
            second = report.drawn
            writer.leaders.record((1, 1), TrainingResult({}, "out of <luck>"))
        until(lambda: "3 done, 1 failed" in report.drawn.start and "being written" not in report.drawn.start)
        assert report.drawn is not second
        assert "out of &lt;luck&gt;" in report.drawn.end
        last = report.drawn
        assert not threading.Event().wait(1)
        assert report.drawn is last


def test_a_store_that_goes_away_is_told_and_met_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with followed(store, monkeypatch) as report:
        until(lambda: report.drawn.figures)
        store.rename(store.with_name("elsewhere.zarr"))
        until(lambda: "expected a store, got nothing" in report.drawn.start)
        store.with_name("elsewhere.zarr").rename(store)
        until(lambda: report.drawn.figures)


def test_nothing_drawn_yet_is_a_page_as_well() -> None:
    assert Drawn().figures == {}
    assert "Reading" in Drawn().start


def test_what_cannot_be_watched_is_refused_in_one_line(store: Path, tmp_path: Path) -> None:
    answer = stackpop("watch", tmp_path / "none.zarr", cwd=tmp_path)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "expected a store, got nothing" in answer.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = stackpop("watch", store, "--port", taken.getsockname()[1], cwd=tmp_path)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer
    assert "--port: expected one to listen at on 127.0.0.1, got 'address already in use'; " in answer.err
