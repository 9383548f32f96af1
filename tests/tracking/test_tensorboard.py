"""Runs in TensorBoard: every step once, whatever was interrupted."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from command import Answer
from stackpop.errors import TrackingError
from stackpop.tracking import RunKey, default_folder, replay
from tracked import FAILED, RUNS, check_event_files, event_files, result, write


def test_a_sweep_is_in_tensorboard_as_it_is_in_the_store(swept: tuple[Path, Answer]) -> None:
    folder, answer = swept
    assert (answer.code, answer.err) == (0, "")
    assert "tracked: 4 runs logged now, 0 before, in tensorboard" in answer.out
    check_event_files(folder / "tiny.zarr")


def test_half_a_store_then_the_rest(tmp_path: Path) -> None:
    store = tmp_path / "tiny.zarr"
    write(store, {RUNS[0]: result(RUNS[0]), RUNS[1]: FAILED})
    assert replay(store, "tensorboard")["logged"] == 2
    done, failed = sorted(event_files(store), key=lambda name: name.endswith("-failed"))
    (first,) = default_folder(store).rglob(f"{done}/events*")
    before = first.stat().st_mtime_ns
    assert event_files(store)[failed] == {}

    write(store, {index: result(index) for index in RUNS[1:]})
    found = replay(store, "tensorboard")
    assert (found["logged"], found["before"]) == (3, 1)
    check_event_files(store)
    assert first.stat().st_mtime_ns == before
    assert replay(store, "tensorboard")["logged"] == 0


def test_a_replay_that_is_killed_goes_on(store: Path) -> None:
    def stop_at_third(_: RunKey) -> None:
        seen.append(_)
        if len(seen) == 3:
            raise KeyboardInterrupt

    seen: list[RunKey] = []
    with pytest.raises(KeyboardInterrupt):
        replay(store, "tensorboard", before_each=stop_at_third)
    half = default_folder(store) / ".tensorboard.new"
    half.mkdir()
    (half / "events.out.tfevents.0.stackpop").write_bytes(b"half an event")
    assert replay(store, "tensorboard")["logged"] == 2
    check_event_files(store)


def test_two_replays_at_once_are_refused(store: Path) -> None:
    folder = default_folder(store)
    folder.mkdir()
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TrackingError, match="another `stackpop track`"):
            replay(store, "tensorboard")
