"""Write the runs of one group: collect results in memory, then put them into their chunks a block at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError
from stackpop.results import TrainingResult
from stackpop.store.layout import Layout
from stackpop.store.location import Location
from stackpop.store.schema import RUN_VARIABLES, STATUS, Status

Index = tuple[int, ...]
Array = zarr.Array[Any]

_RESULT_BYTES = 2000  # of a result in memory, beside the numbers of its arrays


class GroupWriter:
    """The leader runs or the follower trainings of one sweep.

    Owned by a ResultsWriter, which holds the store's lock; not for use from several threads. An `index` is a position
    in the *sweep's* grid, whatever else the store holds. A result is in memory after `record` and on disk after
    `flush`; `status` says done, failed or blocked only of what is on disk.
    """

    status: NDArray[np.int8]  # [*swept dims of the sweep]; read it, change it through the methods

    def __init__(
        self, place: Location, root: zarr.Group, layout: Layout, positions: tuple[NDArray[np.intp], ...]
    ) -> None:
        self._place = place
        self._positions = positions
        self._variables = {variable.name: variable for variable in layout.variables}
        names = [variable.name for variable in (*layout.variables, *RUN_VARIABLES, STATUS)]
        self._arrays: dict[str, Array] = {name: open_array(root, layout.path(name)) for name in names}
        self._buffer: dict[Index, tuple[Index, TrainingResult]] = {}  # by position in the store
        self.buffered_bytes = 0  # about what the buffer weighs
        self._marks: dict[Index, Status] = {}  # by position in the store
        self._chunks_read: dict[str, tuple[Index, NDArray[Any]]] = {}  # the chunk that `read` met last
        self.status = self._settle_status()

    def _settle_status(self) -> NDArray[np.int8]:
        """Make runs that an earlier writer left running pending; returns the status of the sweep's runs."""
        array = self._arrays[STATUS.name]
        status = np.array(array[...], dtype=np.int8)
        running = status == Status.RUNNING
        if running.any():
            status[running] = Status.PENDING
            array[...] = status
        return status[np.ix_(*self._positions)] if self._positions else status

    def mark_running(self, index: Index) -> None:
        """A run is being trained."""
        self._mark(index, Status.RUNNING)

    def mark_pending(self, index: Index) -> None:
        """A run is to be trained, or trained again."""
        self._mark(index, Status.PENDING)

    def _mark(self, index: Index, status: Status) -> None:
        self.status[index] = status
        self._marks[self._position(index)] = status

    def _position(self, index: Index) -> Index:
        return tuple(int(places[k]) for places, k in zip(self._positions, index, strict=True))

    def record(self, index: Index, result: TrainingResult) -> None:
        """Take the result of a run, to be written at the next flush in the variables' types (mostly float32).

        Raises:
            StoreError: it holds an array that the store does not know or has no room for.
        """
        for name, values in result.arrays.items():
            if name not in self._variables:
                raise StoreError(f"result {name}: expected one of {', '.join(self._variables)}")
            room = self._arrays[name].shape[len(self._positions) :]
            if len(room) != values.ndim or any(size > most for size, most in zip(values.shape, room, strict=True)):
                raise StoreError(f"result {name}: expected a shape of at most {room}, got {values.shape}")
        position = self._position(index)
        self._buffer[position] = (index, result)
        self.buffered_bytes += _RESULT_BYTES + sum(values.nbytes for values in result.arrays.values())
        self._marks.pop(position, None)

    def read(self, index: Index, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """The arrays of a run that is done, or those named, padded to the store's dims (NaN, or -1 for counts).

        Reading runs in the order of the grid decodes each chunk once.

        Raises:
            StoreError: the run is not done, or the disk failed.
        """
        if self.status[index] != Status.DONE:
            raise StoreError(f"run {index}: expected a run that is done, got {Status(self.status[index]).name.lower()}")
        position = self._position(index)
        with self._place.faults():
            return {name: self._read_one(name, position) for name in names or self._variables}

    def _read_one(self, name: str, position: Index) -> NDArray[Any]:
        array = self._arrays[name]
        corner, local = _split(position, array)
        known = self._chunks_read.get(name)
        if known is None or known[0] != corner:
            known = self._chunks_read[name] = (corner, np.asarray(array[_region(corner, array)]))
        return np.array(known[1][local])

    def flush(self) -> None:
        """Write what was recorded and marked; nothing is forgotten if the disk fails.

        A run's arrays come first and its status last, so that a run that is done is complete at any instant.

        Raises:
            StoreError: the disk is full or refuses; call again to try again.
        """
        if not self._buffer and not self._marks:
            return
        results = {position: result for position, (_, result) in self._buffer.items()}
        outcome = {position: _outcome(result) for position, result in results.items()}
        with self._place.faults():
            if results:
                self._write_results(results)
            marks = {**self._marks, **outcome}
            _put(self._arrays[STATUS.name], STATUS.fill, np.array(list(marks), dtype=np.intp), list(marks.values()))
        for position, (index, _) in self._buffer.items():
            self.status[index] = outcome[position]
        self._buffer.clear()
        self.buffered_bytes = 0
        self._marks.clear()
        self._chunks_read.clear()

    def _write_results(self, results: Mapping[Index, TrainingResult]) -> None:
        rows = [_run_values(result) for result in results.values()]
        columns: dict[str, list[Any]] = {
            variable.name: [row[variable.name] for row in rows] for variable in RUN_VARIABLES
        }
        for name in self._variables:
            columns[name] = [result.arrays.get(name) for result in results.values()]
        positions = np.array(list(results), dtype=np.intp)
        arrays = {name: self._arrays[name] for name in columns}
        fills = {variable.name: variable.fill for variable in (*self._variables.values(), *RUN_VARIABLES)}
        self._place.each(partial(_put, arrays[name], fills[name], positions, columns[name]) for name in arrays)

    def give_up_running(self) -> None:
        """Runs that were marked running and brought no result are pending again."""
        for found in np.argwhere(self.status == Status.RUNNING):
            index = tuple(int(k) for k in found)
            if self._position(index) not in self._buffer:
                self.mark_pending(index)


def open_array(root: zarr.Group, path: str) -> Array:
    """The array at `path`, which the store is known to hold."""
    array = root[path]
    if not isinstance(array, zarr.Array):
        raise StoreError(f"store: expected an array at {path}, got a group; name another --store")
    return array


def _outcome(result: TrainingResult) -> Status:
    if result.blocked:
        return Status.BLOCKED
    return Status.FAILED if result.failed else Status.DONE


def _run_values(result: TrainingResult) -> dict[str, object]:
    return {
        "error": _encodable(result.error),
        "worker": _encodable(result.worker),
        "wall_seconds": result.wall_seconds,
        "attempts": min(result.attempts, np.iinfo(np.int16).max),
        "started": int(result.started) or None,
        "finished": int(result.finished) or None,
    }


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate, as in undecodable file names


def _put(array: Array, fill: object, positions: NDArray[np.intp], values: Sequence[Any]) -> None:
    """Write one value (array, scalar, or None for nothing) a run; each chunk is read and written once.

    positions: [run, dim].
    """
    if 0 in array.shape:
        return
    corners, places = np.divmod(positions, np.array(array.chunks[: positions.shape[1]], dtype=np.intp))
    chunks: dict[Index, list[int]] = defaultdict(list)
    for run, corner in enumerate(map(tuple, corners.tolist())):
        chunks[corner].append(run)
    for corner, runs in chunks.items():
        region = _region(corner, array)
        block = np.array(array[region], dtype=array.dtype)  # of one value, Zarr gives a scalar
        block[tuple(places[runs].T)] = fill
        same: dict[Index, list[int]] = defaultdict(list)  # runs whose values have one shape
        for run in runs:
            if values[run] is not None:
                same[np.shape(values[run])].append(run)
        # What float32 cannot hold becomes infinite here. To refuse such a run is training's part, not the store's.
        with np.errstate(over="ignore"):
            for shape, members in same.items():
                inside = (*places[members].T, *map(slice, shape))
                stack = np.array([values[run] for run in members], dtype=block.dtype)
                block[inside] = stack if corner else stack[0]  # without swept dims there is one run
        array[region] = block


def _split(position: Index, array: Array) -> tuple[Index, Index]:
    """Which chunk holds a run, and where in the chunk the run is."""
    chunks = array.chunks[: len(position)]
    corner = tuple(p // size for p, size in zip(position, chunks, strict=True))
    return corner, tuple(p % size for p, size in zip(position, chunks, strict=True))


def _region(corner: Index, array: Array) -> Any:
    """The selection of one chunk of runs, whole along the other dims."""
    sizes = array.chunks[: len(corner)]
    return (*(slice(k * size, (k + 1) * size) for k, size in zip(corner, sizes, strict=True)), ...)
