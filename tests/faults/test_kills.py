"""Kill and interrupt real sweeps at random instants: nothing is lost, and the next one ends with the same bits.

`python -m tests.faults --times 20` kills each kind of process that often; STACKPOP_FAULT_TIMES does it for pytest.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import xarray as xr

from command import Answer, command_line, heeds, kill, scheduler, session, stackpop, started, until, worker
from stackpop.store import Status, read_progress

pytestmark = pytest.mark.slow

TIMES = int(os.environ.get("STACKPOP_FAULT_TIMES", "2"))
SWEEP = """\
game: {memory: opponent, rounds: 4}
leader: {algorithm: pg, updates: 300, batch_steps: 200}
follower: {updates: 60, batch_steps: 100, post_updates: 10}
evaluation_episodes: 2
axes:
  matrix: [chicken, battle, harmony]
  seed: [1, 2, 3, 4]
"""
# What depends on where and when a run was trained, and not on what it learned.
CIRCUMSTANCES = ["wall_seconds", "worker", "started", "finished", "attempts"]
GROUPS = (None, "followers")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder with the store `whole.zarr` of an undisturbed sweep, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(SWEEP)
    begun = time.monotonic()
    assert stackpop(*arguments("whole.zarr"), cwd=folder) == Answer(0, "", "")
    return folder, time.monotonic() - begun


def arguments(store: str, *more: object) -> list[object]:
    return ["sweep", "sweep.yaml", "--store", store, "--quiet", *(more or ("--workers", 2))]


def command(store: str, *more: object) -> list[object]:
    return [sys.executable, "-m", "stackpop", *arguments(store, *more)]


def results(store: Path, group: str | None) -> xr.Dataset:
    with xr.open_zarr(store, group=group, consolidated=True) as dataset:  # plain xarray, as a notebook does it
        dataset.status.load()  # first, for a sweep may be writing: a run that is done now has all its arrays already
        return dataset.load()


def done_so_far(store: Path) -> dict[str | None, xr.Dataset]:
    """The results of each group, as far as its runs are done; nothing, if there is no store yet."""
    if not store.exists():
        return {}
    found = {group: results(store, group).reset_coords(drop=True) for group in GROUPS}
    return {group: dataset.where(dataset.status == Status.DONE) for group, dataset in found.items()}


def check_kept(before: dict[str | None, xr.Dataset], after: dict[str | None, xr.Dataset]) -> None:
    """What was done is done, with the same values."""
    for group, old in before.items():
        xr.testing.assert_equal(old, after[group].where(old.status == Status.DONE))


def check_resumes(folder: Path, store: str) -> None:
    """The same command ends with exit code 0 and the results of the undisturbed sweep; what was done stays."""
    before = done_so_far(folder / store)
    assert stackpop(*arguments(store), cwd=folder) == Answer(0, "", "")
    check_kept(before, done_so_far(folder / store))
    check_whole(folder, store)


def check_whole(folder: Path, store: str) -> None:
    """A store holds the bits of the undisturbed sweep."""
    for group in GROUPS:
        whole, found = (results(folder / name, group) for name in ("whole.zarr", store))
        xr.testing.assert_equal(whole.drop_vars(CIRCUMSTANCES), found.drop_vars(CIRCUMSTANCES))
    assert read_progress(folder / store).writer is None


def wait_at_random(process: subprocess.Popen[str], seconds: float, rng: random.Random) -> None:
    """Until some instant of the sweep's life."""
    deadline = time.monotonic() + rng.uniform(0.2, 0.95) * seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def worker_processes(leader: int) -> list[psutil.Process]:
    """The processes of a session in which tasks run, killed nannies' children included."""
    return [process for process in session(leader) if "multiprocessing.spawn" in command_line(process)]


@pytest.mark.parametrize("time_", range(TIMES))
def test_client_is_killed(undisturbed: tuple[Path, float], time_: int) -> None:
    folder, seconds = undisturbed
    store = f"client{time_}.zarr"
    with started(*command(store), cwd=folder) as sweep:
        wait_at_random(sweep, seconds, random.Random(time_))
        before = done_so_far(folder / store)
        sweep.kill()
        sweep.wait()
        until(lambda: not worker_processes(sweep.pid), 15)  # they notice, and go
    check_kept(before, done_so_far(folder / store))
    check_resumes(folder, store)


@pytest.mark.parametrize("time_", range(TIMES))
def test_worker_is_killed(undisturbed: tuple[Path, float], time_: int) -> None:
    folder, seconds = undisturbed
    store, rng = f"worker{time_}.zarr", random.Random(100 + time_)
    with started(*command(store), cwd=folder) as sweep:
        until(lambda: worker_processes(sweep.pid))
        wait_at_random(sweep, seconds, rng)
        for victim in worker_processes(sweep.pid)[:1]:
            kill(victim)
        assert sweep.wait(120) == 0
    check_whole(folder, store)


@pytest.mark.parametrize("time_", range(TIMES))
def test_scheduler_is_killed(undisturbed: tuple[Path, float], time_: int) -> None:
    folder, seconds = undisturbed
    store, rng = f"scheduler{time_}.zarr", random.Random(200 + time_)
    with ExitStack() as stack:
        file, process = stack.enter_context(scheduler(folder))
        for k in range(2):
            stack.enter_context(worker(file, folder / f"scratch{k}"))
        err = stack.enter_context((folder / "err").open("w+"))
        sweep = stack.enter_context(started(*command(store, "--scheduler-file", file), cwd=folder, stderr=err))
        until(lambda: (folder / store).exists() and read_progress(folder / store).leaders.counts[Status.RUNNING])
        wait_at_random(sweep, seconds / 2, rng)
        before = done_so_far(folder / store)
        process.kill()
        code = sweep.wait(60)
        lines = (folder / "err").read_text().splitlines()
    assert code == 0 or (code == 1 and len(lines) == 1 and lines[0].startswith("error: scheduler: ")), lines
    check_kept(before, done_so_far(folder / store))
    check_resumes(folder, store)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stage", ["imports", "cluster starts", "runs"])
def test_client_is_asked_to_stop(undisturbed: tuple[Path, float], number: signal.Signals, stage: str) -> None:
    folder, _ = undisturbed
    store = f"{number.name}-{stage.replace(' ', '-')}.zarr"
    with (folder / "err").open("w+") as err, started(*command(store), cwd=folder, stderr=err) as sweep:
        until(lambda: heeds(sweep, signal.SIGTERM))
        time.sleep(0.2)
        if stage != "imports":
            until((folder / store).exists)
            time.sleep(0.3)
        if stage == "runs":
            until(lambda: read_progress(folder / store).leaders.counts[Status.DONE])
        asked = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(sweep.pid, number)  # as a terminal does: every process of the group gets it
        else:
            sweep.terminate()
        code = sweep.wait(30)
        assert time.monotonic() - asked < 10
        until(lambda: not worker_processes(sweep.pid), 5)
        lines = (folder / "err").read_text().splitlines()
    # Python kills itself anew if the first signal met C code that runs Python code; a shell shows 130 for both.
    assert code in (130, -signal.SIGINT), lines
    assert lines == ["error: stopped; what was finished is recorded, the same command goes on from there"]
    if (folder / store).exists():
        assert read_progress(folder / store).leaders.counts[Status.RUNNING] == 0
    check_resumes(folder, store)


def test_client_is_asked_to_stop_twice(undisturbed: tuple[Path, float]) -> None:
    """A second Ctrl-C ends it at once, with nothing but the one line if that is out already."""
    folder, _ = undisturbed
    store = "twice.zarr"
    with (folder / "err").open("w+") as err, started(*command(store), cwd=folder, stderr=err) as sweep:
        until((folder / store).exists)
        until(lambda: read_progress(folder / store).leaders.counts[Status.DONE])
        for _ in range(3):
            sweep.send_signal(signal.SIGINT)
            time.sleep(0.2)
        code = sweep.wait(10)
        until(lambda: not worker_processes(sweep.pid), 15)
        lines = (folder / "err").read_text().splitlines()
    assert code == 130, lines
    assert all(line.startswith("error: stopped;") for line in lines), lines
    check_resumes(folder, store)


INTERRUPTED_CLOSE = """\
import signal, sys, time
from stackpop.cluster.local import local_cluster
from stackpop.spec.cluster import LocalSettings
if __name__ == "__main__":
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with local_cluster(LocalSettings(workers=1)):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
    except KeyboardInterrupt:
        print(time.monotonic())
"""


def test_an_interrupted_close_of_the_cluster_ends_soon(tmp_path: Path) -> None:
    """Left to itself, Dask waits at exit for a close that nobody takes up again."""
    (tmp_path / "close.py").write_text(INTERRUPTED_CLOSE)
    command = [sys.executable, "close.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert time.monotonic() - float(done.stdout) < 8
