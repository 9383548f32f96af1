"""Variables of runs, written and read a chunk at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr

from stackpop.store.arrays import RunArray

SHAPE, CHUNKS = (5, 30, 7), (2, 4, 8)  # two swept dims and one inner dim, which lacks one of a chunk


@pytest.fixture
def array() -> zarr.Array[Any]:
    return zarr.create_array(zarr.storage.MemoryStore(), shape=SHAPE, chunks=CHUNKS, dtype="float32", fill_value=np.nan)


def in_turn(rng: np.random.Generator) -> list[tuple[int, int]]:
    """All runs, some twice, in no order at all."""
    runs = [(row, column) for row in range(SHAPE[0]) for column in range(SHAPE[1])]
    return [runs[k] for k in rng.integers(len(runs), size=50)] + [runs[k] for k in rng.permutation(len(runs))]


def test_what_was_written_last_is_there_whatever_is_in_memory(array: zarr.Array[Any]) -> None:
    rng, column = np.random.default_rng(1), RunArray(array, 2, np.nan)
    expected = np.full(SHAPE, np.nan, dtype=np.float32)
    runs = in_turn(rng)
    for start in range(0, len(runs), 9):
        some = list(dict.fromkeys(runs[start : start + 9]))
        values = [rng.normal(size=rng.integers(SHAPE[2] + 1)) if rng.random() < 0.9 else None for _ in some]
        column.write(np.array(some), values)
        for run, value in zip(some, values, strict=True):
            expected[run] = np.nan
            if value is not None:
                expected[run][: len(value)] = value
        np.testing.assert_array_equal(array[...], expected)
        asked = runs[rng.integers(len(runs))]
        np.testing.assert_array_equal(column.read(asked), expected[asked])


def test_what_was_read_is_the_readers_own(array: zarr.Array[Any]) -> None:
    column = RunArray(array, 2, np.nan)
    column.write(np.array([[0, 0]]), [np.ones(7)])
    column.read((0, 0))[:] = 5
    np.testing.assert_array_equal(column.read((0, 0)), 1)


def test_the_chunk_of_the_last_runs_is_not_read_again(array: zarr.Array[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    column, read, whole = RunArray(array, 2, np.nan), [], zarr.Array.__getitem__

    def noted(self: zarr.Array[Any], selection: Any) -> Any:
        read.append(selection)
        return whole(self, selection)

    monkeypatch.setattr(zarr.Array, "__getitem__", noted)
    for k in range(4):
        column.write(np.array([[0, k]]), [np.ones(7)])
    assert len(read) == 1


def test_after_a_write_that_failed_the_chunk_is_read_again(
    array: zarr.Array[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may have taken over, and what it wrote must be met before it is written over."""
    column, whole = RunArray(array, 2, np.nan), zarr.Array.__setitem__

    def refused(self: zarr.Array[Any], selection: Any, values: Any) -> None:
        raise OSError("no room")

    column.write(np.array([[0, 0]]), [np.ones(7)])
    monkeypatch.setattr(zarr.Array, "__setitem__", refused)
    with pytest.raises(OSError, match="no room"):
        column.write(np.array([[0, 1]]), [np.ones(7)])
    monkeypatch.setattr(zarr.Array, "__setitem__", whole)
    array[0, 2] = np.full(7, 3.0)  # by somebody else
    column.write(np.array([[0, 1]]), [np.ones(7)])
    np.testing.assert_array_equal(array[0, :4, 0], [1, 1, 3, np.nan])


def test_few_chunks_stay_in_memory() -> None:
    """However large they are and however many there are, what stays of them is less than five megabytes."""
    for length in (16, 2**20):
        array = zarr.create_array(
            zarr.storage.MemoryStore(), shape=(40, length), chunks=(1, length), dtype="float32", fill_value=0
        )
        column = RunArray(array, 1, 0)
        for k in range(40):
            column.write(np.array([[k]]), [np.ones(length)])
        kept = [block.nbytes for block in column._kept.values()]
        assert 0 < len(kept) <= 4
        assert sum(kept) <= 2**22


def test_runs_in_the_order_of_the_grid_decode_each_chunk_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is."""
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(8, 2**20), chunks=(4, 2**20), dtype="float32", fill_value=0
    )
    column, decoded, whole = RunArray(array, 1, 0), [], zarr.Array.__getitem__

    def noted(self: zarr.Array[Any], selection: Any) -> Any:
        decoded.append(selection)
        return whole(self, selection)

    monkeypatch.setattr(zarr.Array, "__getitem__", noted)
    for k in range(8):
        column.read((k,))
    assert len(decoded) == 2


def test_without_swept_dims_there_is_one_run() -> None:
    array = zarr.create_array(zarr.storage.MemoryStore(), shape=(7,), chunks=(8,), dtype="float32", fill_value=0)
    column = RunArray(array, 0, 0)
    column.write(np.empty((1, 0), dtype=np.intp), [np.arange(3.0)])
    np.testing.assert_array_equal(column.read(()), [0, 1, 2, 0, 0, 0, 0])
