"""A tracker beside a sweep, which does not wait for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

import command
from command import Answer
from stackpop.sweep import Progress, Watcher
from stackpop.sweep.plan import make_plan
from stackpop.tracking import Tracking, background, default_folder
from tracked import SPEC


def test_without_track_no_tracker_is_imported(swept: tuple[Path, Answer]) -> None:
    code = """
import sys
from stackpop.cli import main
try:
    main(["sweep", "tiny.yaml", "--store", "tiny.zarr", "--quiet"])
finally:
    print(*{"wandb", "tensorboard"} & {name.split(".")[0] for name in sys.modules}, "stackpop.tracking" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=swept[0], env=command.ENVIRONMENT, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == ["True"]


class Listener(Watcher):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def progress() -> Progress:
    plan = make_plan(SPEC, np.zeros(SPEC.shape), None, retry_failed=False, runs_per_task=1, threads=1)
    return Progress(plan, done=1, failed=0, finished_now=1)


def replay() -> psutil.Process:
    """The process that logs."""
    (child,) = [one for one in psutil.Process().children() if "track" in command.command_line(one).split()]
    return child


def test_a_replay_runs_beside_a_sweep_that_does_not_wait(
    store: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    listener = Listener()
    with Tracking(str(store), "tensorboard") as tracking:
        tracking.telling(listener)
        tracking.report(progress)
        assert replay().is_running()
        command.until(lambda: len(list(default_folder(store).rglob("events*"))) == 4)
        assert "0 runs logged now, 4 before" in tracking.finish()
    assert listener.warnings == []


def test_a_sweep_that_ends_early_takes_the_replay_with_it(
    store: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    with Tracking(str(store), "tensorboard") as tracking:
        tracking.report(progress)
        child = replay()
    assert not child.is_running()


def test_failures_are_told_once_and_end_quietly(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    listener = Listener()
    with Tracking(str(tmp_path / "nothing.zarr"), "tensorboard") as tracking:
        tracking.telling(listener).report(progress)
        assert tracking.finish() == ""
        assert tracking.finish() == ""
    (line,) = listener.warnings
    assert "expected a store, got nothing" in line
