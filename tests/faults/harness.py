"""A real sweep that is disturbed, and what must hold afterwards, whatever was done to it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import xarray as xr

from command import Answer, command_line, session, stackpop, until
from stackpop.store import Status, read_progress
from stores import bits, stored

TIMES = int(os.environ.get("STACKPOP_FAULT_TIMES", "0"))  # of each fault; 0: as many as a test has by itself
SWEEP = """\
game: {memory: opponent, rounds: 4}
leader: {algorithm: pg, updates: 300, batch_steps: 200}
follower: {updates: 60, batch_steps: 100, post_updates: 10}
evaluation_episodes: 2
axes:
  matrix: [chicken, battle, harmony]
  seed: [1, 2, 3, 4]
"""
RUNS = 12
GROUPS = (None, "followers")
# Lost machines are found after ten heartbeats instead of minutes, or about five seconds later where a nanny is asked.
IMPATIENT = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",  # the least that it bears
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s",
}
Results = dict[str | None, xr.Dataset]  # by group


def times(usually: int) -> range:
    """How often a fault is tried: `usually` in CI, as often as `python -m tests.faults` was told else."""
    return range(TIMES or usually)


@dataclass(frozen=True)
class Undisturbed:
    """The sweep that all are compared to: a folder with its file and its store `whole.zarr`, and how long it took."""

    folder: Path
    seconds: float


def arguments(store: Path | str, *more: object) -> list[object]:
    return ["sweep", "sweep.yaml", "--store", store, "--quiet", *(more or ("--workers", 2))]


def command(store: Path | str, *more: object) -> list[object]:
    return [sys.executable, "-m", "stackpop", *arguments(store, *more)]


def done_so_far(store: Path) -> Results:
    """The results of each group, as far as its runs are done; nothing, if there is no store yet."""
    if not store.exists():
        return {}
    found = {group: stored(store, group).reset_coords(drop=True) for group in GROUPS}
    return {group: dataset.where(dataset.status == Status.DONE) for group, dataset in found.items()}


def check_kept(before: Results, after: Results) -> None:
    """What was done is done, with the same values; when and where as well, so nothing was trained twice."""
    for group, old in before.items():
        xr.testing.assert_equal(old, after[group].where(old.status == Status.DONE))


def check_counts(store: Path) -> None:
    """What the store tells of its runs adds up to the runs there are, each counted once."""
    counts = read_progress(store).leaders.counts
    assert sum(counts.values()) == RUNS
    assert counts[Status.DONE] == int((stored(store).status == Status.DONE).sum())


def check_after(folder: Path, store: Path | str, before: Results) -> None:
    """After any fault, with what was done `before`: the store opens, nothing finished is missing or has changed, no run
    is counted twice, the same command goes on to the end, and the bits are those of the undisturbed sweep.
    """
    if (folder / store).exists():
        check_kept(before, done_so_far(folder / store))
        check_counts(folder / store)
    check_resumes(folder, store)


def check_resumes(folder: Path, store: Path | str, *more: object) -> None:
    """The same command ends with exit code 0 and the results of the undisturbed sweep; what was done stays."""
    before = done_so_far(folder / store)
    assert stackpop(*arguments(store, *more), cwd=folder) == Answer(0, "", "")
    check_kept(before, done_so_far(folder / store))
    check_whole(folder, store)


def check_whole(folder: Path, store: Path | str) -> None:
    """A store holds the bits of the undisturbed sweep."""
    for group in GROUPS:
        xr.testing.assert_equal(bits(folder / "whole.zarr", group), bits(folder / store, group))
    check_counts(folder / store)
    assert read_progress(folder / store).writer is None


def wait_at_random(process: subprocess.Popen[str], seconds: float, rng: random.Random) -> None:
    """Until some instant of the sweep's life."""
    deadline = time.monotonic() + rng.uniform(0.2, 0.95) * seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def wait_for_runs(store: Path, status: Status = Status.RUNNING) -> None:
    """Until runs of a sweep have a status, or are done."""

    def there() -> int:
        counts = read_progress(store).leaders.counts
        return counts[status] + counts[Status.DONE]

    until(lambda: store.exists() and there(), 120)


def worker_processes(leader: int) -> list[psutil.Process]:
    """The processes of a session in which tasks run, killed nannies' children included."""
    return [process for process in session(leader) if "multiprocessing.spawn" in command_line(process)]


@contextmanager
def errors(folder: Path) -> Iterator[tuple[int, Path]]:
    """A file for what a command says of its mistakes: its descriptor, and its path."""
    path = folder / "err"
    with path.open("w") as file:
        yield file.fileno(), path
