"""What else happens to real sweeps: full disks, a second sweep, clocks that step, networks that fail."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from command import Answer, kill, scheduler, stackpop, started, worker
from harness import (
    IMPATIENT,
    Undisturbed,
    arguments,
    check_after,
    check_kept,
    command,
    done_so_far,
    errors,
    times,
    wait_at_random,
    wait_for_runs,
    worker_processes,
)
from network import network

pytestmark = pytest.mark.slow


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 16 MB for a while; the test is skipped where this machine may not mount one."""
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no small disk: needs the command mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk: needs root and the right to mount ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room; returns the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**14))
        except OSError:
            return filler


@pytest.mark.parametrize("time_", times(1))
def test_disk_under_the_store_is_full(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    folder, rng = undisturbed.folder, random.Random(500 + time_)
    with small_disk(tmp_path / "disk") as disk, errors(tmp_path) as (err, said):
        store = disk / "s.zarr"
        with started(*command(store), cwd=folder, stderr=err) as sweep:
            wait_for_runs(store)
            wait_at_random(sweep, undisturbed.seconds / 3, rng)
            before = done_so_far(store)
            filler = fill(disk)
            code = sweep.wait(60)
        lines = said.read_text().splitlines()
        full = len(lines) == 1 and lines[0].startswith(f"error: store {store}: expected room on the disk, got ")
        assert code == 0 or (code == 2 and full), lines
        check_kept(before, done_so_far(store))  # while there is no room yet
        filler.unlink()
        check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
def test_disk_under_a_worker_is_full(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    """And its process dies, so that its nanny must start another without any room."""
    folder, store, rng = undisturbed.folder, tmp_path / "s.zarr", random.Random(600 + time_)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        file, _ = stack.enter_context(scheduler(tmp_path))
        nanny = stack.enter_context(worker(file, disk / "scratch"))
        stack.enter_context(worker(file, tmp_path / "scratch"))
        sweep = stack.enter_context(started(*command(store, "--scheduler-file", file), cwd=folder))
        wait_for_runs(store)
        wait_at_random(sweep, undisturbed.seconds / 3, rng)
        before = done_so_far(store)
        fill(disk)
        for process in worker_processes(nanny.pid):
            kill(process)
        assert sweep.wait(120) == 0
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
def test_second_sweep_on_the_same_store(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    """It is turned away with one line, and the first does not notice."""
    folder, store, rng = undisturbed.folder, tmp_path / "s.zarr", random.Random(700 + time_)
    with started(*command(store), cwd=folder) as sweep:
        wait_for_runs(store)
        wait_at_random(sweep, undisturbed.seconds / 10, rng)
        before = done_so_far(store)
        second = stackpop(*arguments(store), cwd=folder)
        turned_away = second.code == 2 and len(second.err.splitlines()) == 1 and "error: store " in second.err
        # On a busy machine the first may have let go of the store by then, with everything done.
        assert turned_away or second == Answer(0, "", ""), second
        assert sweep.wait(120) == 0
    check_after(folder, store, before)


# Loaded by every Python process before anything else. Only the clock of the wall steps, as on a real machine.
STEPPING_CLOCK = """\
import time
real, real_ns = time.time, time.time_ns

def offset():
    try:
        with open("OFFSET") as file:
            return int(file.read() or 0)
    except OSError:
        return 0

time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + offset() * 10**9
"""


def stepping_clock(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """A file for the seconds that a clock is ahead, and the environment of processes that go by this clock."""
    offset, code = folder / "offset", folder / "clock"
    code.mkdir()
    (code / "sitecustomize.py").write_text(STEPPING_CLOCK.replace("OFFSET", str(offset)))
    path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))
    return offset, {**IMPATIENT, "PYTHONPATH": path}


def step(offset: Path, seconds: int) -> None:
    """At once, for readers as well."""
    new = offset.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(offset)


@pytest.mark.parametrize("time_", times(1))
def test_clock_steps(undisturbed: Undisturbed, tmp_path: Path, time_: int) -> None:
    """Two hours ahead, so that the scheduler takes all workers for dead; and twenty seconds back.

    Further back would only take longer: Dask waits until the wall's time is what it was to send a message that was due.
    """
    folder, store, rng = undisturbed.folder, tmp_path / "s.zarr", random.Random(800 + time_)
    offset, more = stepping_clock(tmp_path)
    with ExitStack() as stack:
        file, _ = stack.enter_context(scheduler(tmp_path, more=more))
        for k in range(2):
            stack.enter_context(worker(file, tmp_path / f"scratch{k}", more=more))
        sweep = stack.enter_context(started(*command(store, "--scheduler-file", file), cwd=folder, more=more))
        wait_for_runs(store)
        wait_at_random(sweep, undisturbed.seconds / 4, rng)
        before = done_so_far(store)
        step(offset, 7200)
        wait_at_random(sweep, undisturbed.seconds / 2, rng)
        step(offset, 7180)
        assert sweep.wait(120) == 0
    check_after(folder, store, before)


@pytest.mark.parametrize("time_", times(1))
@pytest.mark.parametrize("fault", ["cut", "slow"])
def test_network_of_a_worker(undisturbed: Undisturbed, tmp_path: Path, fault: str, time_: int) -> None:
    """It is cut for good, or slow and once cut for two seconds."""
    folder, store, rng = undisturbed.folder, tmp_path / "s.zarr", random.Random(900 + time_)
    with network("here", "near", "far") as net, ExitStack() as stack:
        address, here = net.addresses["here"], net.within("here")
        file, _ = stack.enter_context(scheduler(tmp_path, within=here, host=address, more=IMPATIENT))
        for host in ("near", "far"):
            options = {"within": net.within(host), "host": net.addresses[host], "more": IMPATIENT}
            stack.enter_context(worker(file, tmp_path / host, **options))
        words = [*here, *command(store, "--scheduler-file", file)]
        sweep = stack.enter_context(started(*words, cwd=folder, more=IMPATIENT))
        wait_for_runs(store)
        if fault == "slow":
            net.slow("far", "256kbit")
        wait_at_random(sweep, undisturbed.seconds / 3, rng)
        before = done_so_far(store)
        net.cut("far")
        if fault == "slow":
            time.sleep(2)
            net.heal("far")
        assert sweep.wait(120) == 0
    check_after(folder, store, before)
