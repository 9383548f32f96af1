"""Trainings in segments are interrupted in mid-run: an interruption costs a segment at most, and no bit."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from command import kill, started, until
from harness import (
    Undisturbed,
    check_after,
    check_resumes,
    command,
    done_so_far,
    times,
    worker_processes,
)

pytestmark = pytest.mark.slow

SEGMENT, UPDATES, RUNS = 20, 300, 12
INTERRUPTIONS, WORKERS = 3, 2
PACK = 3  # where packs are killed
MOST_BETWEEN = RUNS // PACK * UPDATES // SEGMENT // (2 * INTERRUPTIONS)  # segments, from one interruption to the next
# What a worker loads before it starts: it notes the updates of each segment before it makes them.
PRELOAD = """\
from stackpop.training.leaders import LeaderTraining

def noted(train):
    def trained(self, updates):
        with open("FILE", "a") as file:
            file.write(f"{min(updates, self._settings.updates - self.made) * self._runs}\\n")
        return train(self, updates)
    return trained

if LeaderTraining.train.__name__ == "train":  # Dask loads it twice
    LeaderTraining.train = noted(LeaderTraining.train)
"""


def noting(folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """A file where workers note the updates they begin, and the environment that makes them."""
    notes, preload = folder / f"{name}.notes", folder / f"{name}.py"
    preload.write_text(PRELOAD.replace("FILE", str(notes)))
    return notes, {"DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(preload)])}


def begun(notes: Path) -> list[int]:
    """The updates of each segment that was begun."""
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def wait_for_segments(sweep: subprocess.Popen[str], notes: Path, rng: random.Random) -> None:
    """Until workers have begun a few more: of the work there is, three such waits leave half undone or so."""
    enough = len(begun(notes)) + rng.randint(1, MOST_BETWEEN)
    until(lambda: len(begun(notes)) >= enough or sweep.poll() is not None, 60)


def check_cost(notes: Path, interrupted: int) -> None:
    """So many segments were begun and not recorded, at most."""
    assert RUNS * UPDATES <= sum(begun(notes)) <= RUNS * UPDATES + interrupted * SEGMENT


@pytest.mark.parametrize("time_", times(1))
def test_client_is_killed_in_mid_run(undisturbed: Undisturbed, time_: int) -> None:
    """Again and again, so that some runs are finished by none of the clients that trained on them."""
    folder, store, rng = undisturbed.folder, f"cut-client{time_}.zarr", random.Random(500 + time_)
    notes, more = noting(folder, f"client{time_}")
    words = command(store, "--workers", WORKERS, "--set", f"segment={SEGMENT}")
    for _ in range(INTERRUPTIONS):
        with started(*words, cwd=folder, more=more) as sweep:
            wait_for_segments(sweep, notes, rng)
            sweep.kill()
            sweep.wait()
            until(lambda: not worker_processes(sweep.pid), 15)
    before = done_so_far(folder / store)
    with started(*words, cwd=folder, more=more) as sweep:
        assert sweep.wait(120) == 0
    check_after(folder, store, before)
    # A worker may have ended a segment, unknown to the client, and begun the next, and that which waited there.
    check_cost(notes, 3 * WORKERS * INTERRUPTIONS)
    assert not (folder / store / "unfinished").exists()


@pytest.mark.parametrize("time_", times(1))
def test_worker_is_killed_in_mid_run(undisturbed: Undisturbed, time_: int) -> None:
    folder, store, rng = undisturbed.folder, f"cut-worker{time_}.zarr", random.Random(600 + time_)
    notes, more = noting(folder, f"worker{time_}")
    words = command(store, "--workers", WORKERS, "--runs-per-task", PACK, "--set", f"segment={SEGMENT}")
    with started(*words, cwd=folder, more=more) as sweep:
        for _ in range(INTERRUPTIONS):
            before = done_so_far(folder / store)
            wait_for_segments(sweep, notes, rng)
            for victim in worker_processes(sweep.pid)[:1]:
                kill(victim)
        assert sweep.wait(120) == 0
    check_after(folder, store, before)
    check_cost(notes, INTERRUPTIONS * RUNS)  # no pack has more than one task in flight


def test_what_a_sweep_in_segments_left_another_goes_on_from(undisturbed: Undisturbed) -> None:
    """Without segments, and in packs of another size."""
    folder, store = undisturbed.folder, "cut-other.zarr"
    words = command(store, "--workers", WORKERS, "--set", f"segment={SEGMENT}")
    with started(*words, cwd=folder) as sweep:
        until(lambda: len(list((folder / store / "unfinished").glob("*.npz"))) > 1, 60)
        sweep.kill()
        sweep.wait()
        until(lambda: not worker_processes(sweep.pid), 15)
    notes, more = noting(folder, "other")
    with started(*command(store, "--workers", 1, "--runs-per-task", RUNS), cwd=folder, more=more) as sweep:
        assert sweep.wait(120) == 0
    assert sum(begun(notes)) <= RUNS * UPDATES - 2 * SEGMENT
    assert len(begun(notes)) > 1  # runs that have come to different updates are in different packs
    check_resumes(folder, store)
