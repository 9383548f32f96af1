"""Write the runs of one group: collect results in memory, then put them into their chunks a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError
from stackpop.results import TrainingResult
from stackpop.store.arrays import Index, RunArray, open_array
from stackpop.store.layout import Layout
from stackpop.store.location import Location
from stackpop.store.schema import RUN_VARIABLES, STATUS, Status

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
        self.status = _settled(open_array(root, layout.path(STATUS.name)), positions)
        self._arrays = {
            each.name: RunArray(open_array(root, layout.path(each.name)), len(positions), each.fill)
            for each in (*layout.variables, *RUN_VARIABLES, STATUS)
        }
        self._buffer: dict[Index, tuple[Index, TrainingResult]] = {}  # by position in the store
        self.buffered_bytes = 0  # about what the buffer weighs
        self._marks: dict[Index, Status] = {}  # by position in the store

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
            room = self._arrays[name].room
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
            return {name: self._arrays[name].read(position) for name in names or self._variables}

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
            self._arrays[STATUS.name].write(np.array(list(marks), dtype=np.intp), list(marks.values()))
        for position, (index, _) in self._buffer.items():
            self.status[index] = outcome[position]
        self._buffer.clear()
        self.buffered_bytes = 0
        self._marks.clear()

    def _write_results(self, results: Mapping[Index, TrainingResult]) -> None:
        rows = [_run_values(result) for result in results.values()]
        columns: dict[str, list[Any]] = {
            variable.name: [row[variable.name] for row in rows] for variable in RUN_VARIABLES
        }
        for name in self._variables:
            columns[name] = [result.arrays.get(name) for result in results.values()]
        positions = np.array(list(results), dtype=np.intp)
        self._place.each(partial(self._arrays[name].write, positions, values) for name, values in columns.items())

    def give_up_running(self) -> None:
        """Runs that were marked running and brought no result are pending again."""
        for found in np.argwhere(self.status == Status.RUNNING):
            index = tuple(int(k) for k in found)
            if self._position(index) not in self._buffer:
                self.mark_pending(index)


def _settled(array: zarr.Array[Any], positions: tuple[NDArray[np.intp], ...]) -> NDArray[np.int8]:
    """Make runs that an earlier writer left running pending; returns the status of the sweep's runs."""
    status = np.array(array[...], dtype=np.int8)
    running = status == Status.RUNNING
    if running.any():
        status[running] = Status.PENDING
        array[...] = status
    return status[np.ix_(*positions)] if positions else status


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
