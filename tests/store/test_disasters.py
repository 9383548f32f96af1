"""A store survives kills, full disks and read-only folders."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, open_results, read_progress
from toy_store import GAMES, VICTIM, WIDE, Sweep, check_intact, fill, kill_python, leader_result


def test_a_kill_at_any_instant_loses_only_runs_in_flight(store: Path) -> None:
    done = 0
    for seconds in (*np.random.default_rng(0).uniform(0, 0.25, 8), 1, 4, 16):
        if done and seconds >= 1:
            break  # only a slow machine needs so long to flush once
        kill_python(VICTIM, store, seconds=seconds)
        now = check_intact(store)
        assert now >= done
        done = now
    assert done > 0
    with ResultsWriter(store, WIDE) as writer:
        assert not (writer.leaders.status == Status.RUNNING).any()
    assert not list(store.rglob("*.partial"))


def test_a_kill_while_the_store_is_made_leaves_none_or_a_whole_one(store: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        kill_python("import stackpop.store; print(1, flush=True)" + VICTIM, store, seconds=rng.uniform(0, 0.4))
        if store.exists():
            check_intact(store)
    with ResultsWriter(store, WIDE):
        assert sorted(p.name for p in store.parent.iterdir()) == ["toy.zarr", "toy.zarr.lock"]


def test_labels_and_documents_are_on_the_disk_before_and_after_the_commit(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, Sweep())
    synced: list[str] = []
    fsync, replace_file = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store))
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        synced.append(f"-> {os.path.relpath(target, store)}")
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    with ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": (1, 2, 3)})):
        pass
    commit = synced.index("-> zarr.json")
    before, after = synced[:commit], synced[commit:]
    assert {"zarr.json.partial", "seed/c/0", "followers/seed/c/0", "followers"} <= set(before)
    assert after[1] == "."


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(arguments: list[str]) -> None:
    answer = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"mounting is not permitted here: {answer.stderr.strip()}")


def test_a_full_disk_keeps_what_was_recorded_and_goes_on_when_there_is_room(mounted: Path) -> None:
    store = mounted / "toy.zarr"
    with ResultsWriter(store, WIDE) as writer:
        writer.leaders.record((0, 0), leader_result(0))
        writer.flush()
        ballast = mounted / "ballast"
        write_until_full(ballast)
        for number, index in enumerate(np.ndindex(WIDE.shape)):
            writer.leaders.record(index, leader_result(number))
        with pytest.raises(StoreError, match="expected room on the disk, got 'No space left on device'; free some"):
            writer.flush()
        assert (writer.leaders.status == Status.DONE).sum() == 1
        assert read_progress(store).leaders.counts[Status.DONE] == 1
        ballast.unlink()
    assert read_progress(store).leaders.counts[Status.DONE] == 180
    np.testing.assert_array_equal(open_results(store).entropy[1, 5], leader_result(65).arrays["entropy"])


def test_a_store_that_does_not_fit_on_the_disk_is_not_begun(mounted: Path) -> None:
    write_until_full(mounted / "ballast")
    with pytest.raises(StoreError, match="No space left"):
        ResultsWriter(mounted / "toy.zarr", Sweep())
    (mounted / "ballast").unlink()
    fill(mounted / "toy.zarr", Sweep())


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_read_only_folder_is_named_with_the_remedy_and_can_be_read(mounted: Path) -> None:
    store = mounted / "toy.zarr"
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 0), leader_result(0))
    mount(["-o", "remount,ro", str(mounted)])
    for path in (store, mounted / "new.zarr"):
        with pytest.raises(StoreError, match="expected a folder to write to, got 'Read-only file system'; make"):
            ResultsWriter(path, Sweep())
    assert read_progress(store).leaders.counts[Status.DONE] == 1
    assert open_results(store).entropy[0, 0].notnull().all()
