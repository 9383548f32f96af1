"""What is refused: changed settings, other axes, newer schemas, what is no store, and a second writer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import zarr

from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, open_results, read_progress
from stackpop.store.lock import lock_path
from toy_store import GAMES, Sweep, fill, leader_result


def test_a_changed_setting_is_refused_with_every_difference(store: Path) -> None:
    fill(store, Sweep())
    changed = Sweep(fixed={"game.memory": "none", "leader.lr": 0.01, "leader.clip": 0.3})
    with pytest.raises(StoreError) as caught:
        ResultsWriter(store, changed)
    message = str(caught.value)
    assert 'game.memory was "joint", is now "none"' in message
    assert "leader.lr was 0.008, is now 0.01" in message
    assert "leader.clip was nothing, is now 0.3" in message
    assert "--store" in message
    assert "\n" not in message
    fill(store, Sweep())  # and the refusal let the lock go


def test_other_axes_are_refused(store: Path) -> None:
    fill(store, Sweep())
    with pytest.raises(StoreError, match=r"axes of the leaders were \['matrix', 'seed'\], are now \['matrix'\]"):
        ResultsWriter(store, Sweep(labels={"matrix": GAMES}))


def test_labels_of_another_type_are_refused(store: Path) -> None:
    fill(store, Sweep())
    with pytest.raises(StoreError, match=r"axis seed: expected labels like the stored ones \(1, 2\), got 'a'"):
        ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": ("a",)}))


def test_a_newer_schema_is_refused(store: Path) -> None:
    fill(store, Sweep())
    root = store / "zarr.json"
    document = json.loads(root.read_text())
    document["attributes"]["schema_version"] = 99
    root.write_text(json.dumps(document))
    for use in (open_results, read_progress, lambda path: ResultsWriter(path, Sweep())):
        with pytest.raises(StoreError, match=r"schema_version: expected at most 1, got 99; .*upgrade stackpop"):
            use(store)


def make_other_zarr(path: Path) -> None:
    zarr.create_group(path)


def make_other_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("keep me")


def make_file(path: Path) -> None:
    path.write_text("keep me")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_other_zarr, "expected a stackpop store, got a Zarr store that stackpop did not write"),
        (make_other_folder, "expected a Zarr store, got a folder without"),
        (make_file, "expected a folder, got a file"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(store: Path, make: Any, message: str) -> None:
    make(store)
    for use in (open_results, read_progress, lambda path: ResultsWriter(path, Sweep())):
        with pytest.raises(StoreError, match=message):
            use(store)
    assert [p.name for p in store.parent.iterdir()] == [store.name]


def test_a_missing_store_cannot_be_read(store: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, got nothing"):
        open_results(store)


def test_a_file_in_the_place_of_the_parent_folder(store: Path) -> None:
    store.write_text("keep me")
    with pytest.raises(StoreError, match="expected a folder, got a file at"):
        ResultsWriter(store / "x.zarr", Sweep())


def test_an_empty_folder_becomes_a_store(store: Path) -> None:
    store.mkdir()
    fill(store, Sweep())
    assert read_progress(store).leaders.counts[Status.DONE] == 6


def test_a_second_writer_is_told_who_holds_the_store(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        with pytest.raises(StoreError, match=rf"expected no other writer, got process {os.getpid()} on .* since 20"):
            ResultsWriter(store.parent / "." / "toy.zarr", Sweep())
        writer.leaders.record((0, 0), leader_result(0))
        found = read_progress(store).writer
        assert found is not None
        assert found.pid == os.getpid()
    assert read_progress(store).writer is None
    assert not lock_path(store).exists()
