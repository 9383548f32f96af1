"""Ports, schedulers, signals and disks that are not as the command needs them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from answers import Call, check_mistake
from command import Answer, scheduler, stackpop, started, until, worker
from stackpop import cli
from stackpop.store import open_results


def test_dashboard_port_in_use(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = call("sweep", "tiny.yaml", "--dashboard-port", port)
    check_mistake(answer, "dashboard port", "a free port", str(port), "in use", "--dashboard-port")
    assert not Path("results").exists()


@pytest.fixture
def no_scheduler() -> str:
    """A loopback address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def test_nobody_at_the_address(call: Call, no_scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 1)
    answer = call("sweep", "tiny.yaml", "--store", "new.zarr", "--scheduler", no_scheduler)
    check_mistake(answer, "scheduler", no_scheduler, "none answers", "dask scheduler")
    assert not Path("new.zarr").exists()


def test_a_store_that_was_there_stays_without_a_cluster(
    finished: tuple[Path, Answer], call: Call, no_scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 1)
    shutil.copytree(finished[0] / "tiny.zarr", "tiny.zarr")
    more = ["--set", "axes.seed=[1,2,3]", "--scheduler", no_scheduler]
    check_mistake(call("sweep", "tiny.yaml", "--store", "tiny.zarr", *more), "scheduler", "none answers")
    assert (open_results("tiny.zarr").status.sel(seed=[1, 2]) == 2).all()


def test_a_stranger_at_the_address(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        begun = time.monotonic()
        answer = stackpop("sweep", "tiny.yaml", "--store", "new.zarr", "--scheduler", address, cwd=folder)
    check_mistake(answer, "scheduler", address, "none answers")
    assert time.monotonic() - begun < 25
    assert not (folder / "new.zarr").exists()


SLOW = """\
import time
try:
    open("begun", "w").close()
    time.sleep(60)
except KeyboardInterrupt:
    print("raised")
"""


def test_a_signal_in_the_middle_of_an_import_ends_the_program(tmp_path: Path) -> None:
    """An exception there makes compiled modules abort, so none is raised."""
    (tmp_path / "slow.py").write_text(SLOW)
    code = "import signal; from stackpop import cli; signal.signal(signal.SIGTERM, cli._interrupt); import slow"
    with started(sys.executable, "-c", code, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        until((tmp_path / "begun").exists)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, f"error: {cli.STOPPED}\n")
    assert not out


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk of its own with the given options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a disk")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_read_only_folder(call: Call, disk: Callable[[str], Path]) -> None:
    answer = call("sweep", "tiny.yaml", "--store", disk("ro") / "new.zarr")
    check_mistake(answer, "new.zarr", "a folder to write to", "ead-only", "--store")


def test_full_disk_at_the_start(call: Call, disk: Callable[[str], Path]) -> None:
    place = disk("size=16k")
    check_mistake(call("sweep", "tiny.yaml", "--store", place / "new.zarr"), "room on the disk", "free some space")


def test_full_disk_loses_nothing(folder: Path, disk: Callable[[str], Path]) -> None:
    place = disk("size=4m")
    command = ["sweep", "tiny.yaml", "--store", place / "s.zarr", "--workers", 1]
    assert stackpop(*command, cwd=folder).code == 0
    before = open_results(place / "s.zarr").load()
    filler = place / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**23))
    answer = stackpop(*command, "--set", "axes.seed=[1,2,3]", cwd=folder)
    check_mistake(answer, "room on the disk", "free some space")
    after = open_results(place / "s.zarr").load()
    assert before.drop_attrs().equals(after.sel(seed=[1, 2]).drop_attrs())
    filler.unlink()
    assert stackpop(*command, "--set", "axes.seed=[1,2,3]", cwd=folder).code == 0
    assert (open_results(place / "s.zarr").status == 2).all()


@pytest.mark.slow
def test_scheduler_without_workers_is_waited_for(folder: Path) -> None:
    with scheduler(folder) as (file, _), (folder / "out").open("w") as out:
        options = ["--scheduler-file", file, "--store", "s.zarr"]
        command = [sys.executable, "-um", "stackpop", "sweep", "tiny.yaml", *options]
        with started(*command, cwd=folder, stdout=out) as sweep:
            until(lambda: "waiting for a worker to join tcp://127.0.0.1:" in (folder / "out").read_text())
            assert sweep.poll() is None
            with worker(file, folder):
                assert sweep.wait(60) == 0
        assert "4 to train in 4 tasks" in (folder / "out").read_text()
