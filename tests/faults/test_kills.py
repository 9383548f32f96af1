"""Kill, freeze and interrupt the processes of real sweeps at random instants."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from command import heeds, kill, scheduler, started, until, worker
from harness import (
    IMPATIENT,
    Undisturbed,
    check_after,
    check_whole,
    command,
    done_so_far,
    errors,
    times,
    wait_at_random,
    wait_for_runs,
    worker_processes,
)
from stackpop.store import Status, read_progress

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("time_", times(2))
def test_client_is_killed(undisturbed: Undisturbed, time_: int) -> None:
    folder, seconds = undisturbed.folder, undisturbed.seconds
    store = f"client{time_}.zarr"
    with started(*command(store), cwd=folder) as sweep:
        wait_at_random(sweep, seconds, random.Random(time_))
        before = done_so_far(folder / store)
        sweep.kill()
        sweep.wait()
        until(lambda: not worker_processes(sweep.pid), 15)  # they notice, and go
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(2))
def test_worker_is_killed(undisturbed: Undisturbed, time_: int) -> None:
    folder, seconds = undisturbed.folder, undisturbed.seconds
    store, rng = f"worker{time_}.zarr", random.Random(100 + time_)
    with started(*command(store), cwd=folder) as sweep:
        until(lambda: worker_processes(sweep.pid))
        wait_at_random(sweep, seconds, rng)
        before = done_so_far(folder / store)
        for victim in worker_processes(sweep.pid)[:1]:
            kill(victim)
        assert sweep.wait(120) == 0
    check_after(folder, store, before)


@contextmanager
def two_workers(folder: Path) -> Iterator[tuple[Path, subprocess.Popen[str], subprocess.Popen[str]]]:
    """A scheduler of its own and two workers: the scheduler's file, its process, and the nanny of the first worker."""
    with ExitStack() as stack:
        file, process = stack.enter_context(scheduler(folder, more=IMPATIENT))
        nannies = [stack.enter_context(worker(file, folder / f"scratch{k}")) for k in range(2)]
        until(lambda: all(worker_processes(nanny.pid) for nanny in nannies))
        yield file, process, nannies[0]


@pytest.mark.parametrize("time_", times(2))
def test_scheduler_is_killed(undisturbed: Undisturbed, time_: int) -> None:
    folder, store, rng = undisturbed.folder, f"scheduler{time_}.zarr", random.Random(200 + time_)
    with two_workers(folder) as (file, process, _), errors(folder) as (err, said):
        with started(*command(store, "--scheduler-file", file), cwd=folder, stderr=err) as sweep:
            wait_for_runs(folder / store)
            wait_at_random(sweep, undisturbed.seconds / 2, rng)
            before = done_so_far(folder / store)
            process.kill()
            code = sweep.wait(60)
        lines = said.read_text().splitlines()
    assert code == 0 or (code == 1 and len(lines) == 1 and lines[0].startswith("error: scheduler: ")), lines
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
def test_nanny_is_killed(undisturbed: Undisturbed, time_: int) -> None:
    """Its worker goes with it, and nobody brings it back."""
    folder, store, rng = undisturbed.folder, f"nanny{time_}.zarr", random.Random(300 + time_)
    with two_workers(folder) as (file, _, nanny):
        with started(*command(store, "--scheduler-file", file), cwd=folder) as sweep:
            wait_for_runs(folder / store)
            wait_at_random(sweep, undisturbed.seconds / 2, rng)
            before = done_so_far(folder / store)
            nanny.kill()
            assert sweep.wait(120) == 0
        until(lambda: not worker_processes(nanny.pid), 15)
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
def test_worker_is_frozen(undisturbed: Undisturbed, time_: int) -> None:
    """For longer than its time to live; its nanny replaces it."""
    folder, store, rng = undisturbed.folder, f"frozen{time_}.zarr", random.Random(400 + time_)
    with (
        two_workers(folder) as (file, _, nanny),
        started(*command(store, "--scheduler-file", file), cwd=folder) as sweep,
    ):
        wait_for_runs(folder / store)
        wait_at_random(sweep, undisturbed.seconds / 4, rng)
        before = done_so_far(folder / store)
        frozen = worker_processes(nanny.pid)
        for process in frozen:
            process.suspend()
        until(lambda: not any(process.is_running() for process in frozen))
        assert sweep.wait(120) == 0
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stage", ["imports", "cluster starts", "runs"])
def test_client_is_asked_to_stop(undisturbed: Undisturbed, number: signal.Signals, stage: str, time_: int) -> None:
    folder, rng = undisturbed.folder, random.Random(f"{number.name} {stage} {time_}")
    store = f"{number.name}-{stage.replace(' ', '-')}-{time_}.zarr"
    with (folder / "err").open("w+") as err, started(*command(store), cwd=folder, stderr=err) as sweep:
        until(lambda: heeds(sweep, signal.SIGTERM))
        if stage == "imports":
            time.sleep(rng.uniform(0, 1))
        elif stage == "cluster starts":
            until((folder / store).exists)
            time.sleep(rng.uniform(0, 1))
        else:
            wait_for_runs(folder / store)
            wait_at_random(sweep, undisturbed.seconds / 3, rng)
        before = done_so_far(folder / store)
        asked = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(sweep.pid, number)  # as a terminal does: every process of the group gets it
        else:
            sweep.terminate()
        code = sweep.wait(30)
        assert time.monotonic() - asked < 20
        until(lambda: not worker_processes(sweep.pid), 15)
        lines = (folder / "err").read_text().splitlines()
    if code == 0:  # a fast machine had finished
        assert (stage, lines) == ("runs", [])
        check_whole(folder, store)
        return
    # Python kills itself anew if the first signal met C code that runs Python code; a shell shows 130 for both.
    assert code in (130, -signal.SIGINT), lines
    assert lines == ["error: stopped; what was finished is recorded, the same command goes on from there"]
    if (folder / store).exists():
        assert read_progress(folder / store).leaders.counts[Status.RUNNING] == 0
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_client_is_asked_to_stop_twice(undisturbed: Undisturbed, number: signal.Signals, time_: int) -> None:
    """A second signal ends it at once, with nothing but the one line if that is out already."""
    folder, rng = undisturbed.folder, random.Random(f"{number.name} {time_}")
    store = f"twice-{number.name}-{time_}.zarr"
    with errors(folder) as (err, said), started(*command(store), cwd=folder, stderr=err) as sweep:
        wait_for_runs(folder / store)
        wait_at_random(sweep, undisturbed.seconds / 3, rng)
        before = done_so_far(folder / store)
        for _ in range(3):
            sweep.send_signal(number)
            time.sleep(0.2)
        code = sweep.wait(30)
        until(lambda: not worker_processes(sweep.pid), 15)
        lines = said.read_text().splitlines()
    # The last signal may meet a process that has stopped already and is leaving, and just end it; or one that is done.
    assert code in (0, 130, -number), lines
    assert all(line.startswith("error: stopped;") for line in lines), lines
    check_after(folder, store, before)


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
    assert time.monotonic() - float(done.stdout) < 30
