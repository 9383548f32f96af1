"""A run that never ends, exhausts memory or ends its worker: it fails alone, and its neighbours have their bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from command import Answer, scheduler, stackpop, started, until, worker
from harness import (
    RUNS,
    Undisturbed,
    arguments,
    check_resumes,
    command,
    times,
    worker_processes,
)
from stackpop.store import Status
from stores import CIRCUMSTANCES, stored

pytestmark = pytest.mark.slow

BAD = {"matrix": "battle", "seed": 1}  # the fifth run, amid others
# What a worker loads before it starts: training is as ever, but for the bad run.
PRELOAD = """\
import os, time
import stackpop.training as training

def never_ends():
    while True:
        time.sleep(0.01)

def exhausts_memory():
    held = []
    while True:
        held.append(b"x" * 2**24)
        time.sleep(0.005)

def ends_its_worker():
    os._exit(1)

def but(train):
    def trained(specs, *rest, **more):
        if any(spec.matrix == "battle" and spec.seed == 1 for spec in specs):
            with open("FOLDER/met", "a") as file:
                file.write("x")
            FAULT()
        return train(specs, *rest, **more)
    return trained

training.train_KIND = but(training.train_KIND)
"""


def preload(folder: Path, fault: str, kind: str) -> Path:
    file = folder / "bad.py"
    file.write_text(PRELOAD.replace("FAULT", fault).replace("KIND", kind).replace("FOLDER", str(folder)))
    return file


def met(folder: Path) -> int:
    """How often a worker met the bad run."""
    return len((folder / "met").read_text())


def check_fails_alone(folder: Path, store: Path, answer: Answer, reason: str) -> xr.Dataset:
    """The bad run is the only one that failed, for a reason; all others are as ever. Returns its results."""
    assert answer.code == 1, answer
    (line,) = answer.err.splitlines()
    assert line.startswith(f"error: runs: expected {RUNS} done, got 1 failed and 0 blocked; "), line
    found, whole = stored(store), stored(folder / "whole.zarr")
    assert found.matrix[np.argwhere(found.status.values == Status.FAILED)[:, 0]].values.tolist() == [BAD["matrix"]]
    bad = found.sel(BAD)
    assert bad.status == Status.FAILED
    assert reason in str(bad.error.values), bad.error.values
    done = (found.status == Status.DONE).reset_coords(drop=True)
    assert int(done.sum()) == RUNS - 1
    apart = [*CIRCUMSTANCES, "error", "status"]
    xr.testing.assert_equal(found.drop_vars(apart).where(done), whole.drop_vars(apart).where(done))
    return bad


def sweep(folder: Path, store: Path, file: Path, *more: object) -> Answer:
    return stackpop(*arguments(store, "--scheduler-file", file, *more), cwd=folder)


@pytest.mark.parametrize("time_", times(1))
@pytest.mark.parametrize(
    ("fault", "kind", "threads"), [("exhausts_memory", "leaders", 1), ("ends_its_worker", "followers", 2)]
)
def test_run_that_takes_its_worker_with_it(
    undisturbed: Undisturbed, tmp_path: Path, fault: str, kind: str, threads: int, time_: int
) -> None:
    """On one worker all neighbours are queued beside it, or even run beside it, and are lost with it each time."""
    folder, store = undisturbed.folder, tmp_path / "s.zarr"
    options = ["--preload", preload(tmp_path, fault, kind), "--memory-limit", "1 GiB", "--nthreads", threads]
    patient = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10"}  # as it is in a cluster that stackpop starts
    more = patient if kind == "leaders" else {}
    with scheduler(tmp_path, more=more) as (file, _), worker(file, tmp_path / "scratch", *options):
        answer = sweep(folder, store, file)
    bad = check_fails_alone(folder, store, answer, "worker: expected it to stay while this trains on it, got ")
    assert str(bad.error.values).startswith("follower: ") == (kind == "followers")
    assert met(tmp_path) <= (6 if more else 8)
    if kind == "leaders":
        check_resumes(folder, store, "--workers", 2, "--retry-failed")


@pytest.mark.parametrize("time_", times(1))
def test_run_that_never_ends(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    """First the pack it is in, then the run by itself; each time its worker is freed."""
    folder, store = undisturbed.folder, tmp_path / "s.zarr"
    bad = preload(tmp_path, "never_ends", "leaders")
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path / "scratch", "--preload", bad) as nanny:
        until(lambda: worker_processes(nanny.pid))
        first = worker_processes(nanny.pid)
        answer = sweep(folder, store, file, "--run-limit", 8, "--runs-per-task", 2)
        assert not any(process.is_running() for process in first), "its thread would go on for ever"
    check_fails_alone(folder, store, answer, "run_limit: expected an end within 8 s, got none after ")
    assert met(tmp_path) == 2
    check_resumes(folder, store, "--workers", 2, "--retry-failed")


@pytest.mark.parametrize("time_", times(1))
def test_limit_ends_a_worker_without_a_nanny(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    folder, store = undisturbed.folder, tmp_path / "s.zarr"
    bad, lines = ["--preload", preload(tmp_path, "never_ends", "leaders")], tmp_path / "err"
    with scheduler(tmp_path) as (file, _), lines.open("w") as err:
        words = command(store, "--scheduler-file", file, "--run-limit", 8)
        with started(*words, cwd=folder, stderr=err) as sweep_:
            with worker(file, tmp_path / "a", *bad, "--no-nanny") as only:
                only.wait(120)
            with worker(file, tmp_path / "b", *bad):
                code = sweep_.wait(120)
    check_fails_alone(folder, store, Answer(code, "", lines.read_text()), "run_limit: ")
