"""Open a store for a sweep, make or extend it, and record into it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.store.arrays import Index
from stackpop.store.coordinates import CoordinateWriter
from stackpop.store.documents import array_nodes, commit, declare_arrays, grow, read_root
from stackpop.store.group import GroupWriter
from stackpop.store.layout import Document, Layout, Sweep, array_documents, coordinates
from stackpop.store.location import Location, locate
from stackpop.store.plan import Positions, open_group, plan_groups, stored_dims, stored_labels, trains_followers
from stackpop.store.provenance import check_comparable, group_attributes
from stackpop.store.schema import FOLLOWERS, GROUND_TRUTH, TRIAL
from stackpop.store.unfinished import UnfinishedRuns

_FLUSH_SECONDS = 1.0
_LEAST_PAUSE = 4.0  # from flush to flush, in durations of a flush
_MOST_BUFFERED = 16e6  # bytes; without a bound, results that come fast make each flush and so each pause longer


class ResultsWriter:
    """The only writer of a store at a path or URL, from construction to `close`; a context manager.

    It makes the store if there is none, and appends to its dims what the sweep adds; runs never move. `leaders` and
    `followers` (None if the sweep trains none) take the results, `unfinished` what runs go on from that were cut off.
    One thread owns it; any number of processes may read.

    What was flushed survives the death of this process at any instant. Sizes, labels and attributes survive a power
    cut, too; results do so once the operating system has written them, usually within a minute. It may write them in
    another order than we did, so after a power cut a run that ended just before may say done and lack its arrays.
    To wait for the disk at every flush would mean some fifty files and as many folders a second.

    In a bucket, everything that was flushed is durable, and nothing of it is ever half there; see `lease` for how a
    writer may lose its right.

    Raises:
        StoreError: in use by another writer; not a store of ours, or of a newer version; holds runs of other axes or
            other fixed settings; or the disk refuses.
    """

    leaders: GroupWriter
    followers: GroupWriter | None
    unfinished: UnfinishedRuns

    def __init__(self, path: str | os.PathLike[str], spec: Sweep) -> None:
        self.place = locate(path)
        self._lock = self.place.lock()
        try:
            with self.place.faults():
                self._open(spec)
        except BaseException:
            self._lock.release()
            raise
        self._flushed_at, self._flush_took = time.monotonic(), 0.0

    def _open(self, spec: Sweep) -> None:
        place = self.place
        if place.holds_nothing():
            with place.making() as building:
                layouts, _ = plan_groups(spec, {}, {})
                _write_metadata(building, layouts, {}, group_attributes(spec, {}))
        root = read_root(place)
        if self._lock.found_left_behind:
            place.remove_leftovers()
        layouts, positions = _extend(place, root, spec)
        group = open_group(place, writing=True)
        self.leaders = GroupWriter(place, group, layouts[""], _along(spec.dims, positions))
        self.followers = None
        if trains_followers(spec):
            places = _along(spec.follower_dims, positions)
            self.followers = GroupWriter(place, group, layouts[FOLLOWERS], places)
        self.unfinished = UnfinishedRuns(place, self._lock)
        games = _along(spec.game_dims, positions)
        self._truth = CoordinateWriter(place, group, layouts[""], GROUND_TRUTH, games)
        self._tried = [
            CoordinateWriter(place, group, layout, layout.searched, _along((TRIAL,), positions))
            for layout in layouts.values()
            if layout.searched
        ]

    def missing_ground_truth(self) -> list[Index]:
        """The games of the sweep, as indices over its game dims, whose exact values are not known."""
        return self._truth.missing()

    def record_ground_truth(self, index: Index, values: Mapping[str, float]) -> None:
        """Take exact values of a game (`equilibrium_pure`, `leader_return_min`, …), to be written at the next flush."""
        self._truth.record(index, values)

    def tried(self, trial: int) -> dict[str, float]:
        """The searched values of a trial by their names in the store; nothing if they were never recorded."""
        return self._tried[0].known((trial,))

    def record_tried(self, trial: int, values: Mapping[str, float]) -> None:
        """Take the searched values of a trial, to be written at the next flush, before any of its runs."""
        for writer in self._tried:
            writer.record((trial,), values)

    def flush(self) -> None:
        """Write everything recorded so far; what a flush could not write is kept for the next.

        Raises:
            StoreError: the disk is full or refuses, or another writer has taken over.
        """
        begun = self._flushed_at = time.monotonic()
        self._lock.check()
        self._truth.flush()
        for writer in self._tried:
            writer.flush()
        if self.followers is not None:
            self.followers.flush()  # before the leaders, whose results presuppose them
        self.leaders.flush()
        self._flush_took = time.monotonic() - begun

    def maybe_flush(self) -> bool:
        """Flush if the last flush is a second ago or much is in memory, and tell whether it was; call it often.

        Where flushing takes long, over a network, it is done less often.
        """
        pause = max(_FLUSH_SECONDS, _LEAST_PAUSE * self._flush_took)
        groups = (self.leaders, self.followers)
        buffered = sum(group.buffered_bytes for group in groups if group is not None)
        due = buffered >= _MOST_BUFFERED or time.monotonic() - self._flushed_at >= pause
        if due:
            self.flush()
        return due

    def close(self) -> None:
        """Flush, hand interrupted runs back as pending, and release the store."""
        try:
            for group in (self.leaders, self.followers):
                if group is not None:
                    group.give_up_running()
            self.flush()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _along(dims: tuple[str, ...], positions: Positions) -> tuple[NDArray[np.intp], ...]:
    return tuple(positions[dim] for dim in dims)


def _extend(place: Location, root: Document, spec: Sweep) -> tuple[dict[str, Layout], Positions]:
    """Bring a store up to the sweep: labels, sizes, groups and attributes that it lacks."""
    stored = array_nodes(root)
    check_comparable(place, spec, root["attributes"], stored_dims(stored))
    labels = stored_labels(place, stored, spec.dims)
    layouts, positions = plan_groups(spec, labels, stored)
    _write_metadata(place, layouts, stored, group_attributes(spec, root["attributes"]))
    return layouts, positions


def _write_metadata(
    place: Location,
    layouts: Mapping[str, Layout],
    stored: Mapping[str, Document],
    attributes: Mapping[str, Mapping[str, Any]],
) -> None:
    """Declare the arrays, write the labels that are new, commit."""
    wanted = {name: doc for layout in layouts.values() for name, doc in array_documents(layout).items()}
    arrays = grow(stored, wanted)
    declare_arrays(place, arrays, stored)
    for layout in layouts.values():
        for dim, values in coordinates(layout).items():
            name = layout.path(dim)
            if name not in stored or stored[name]["shape"] != [len(values)]:
                zarr.open_array(place.zarr(writing=True), path=name, mode="r+", zarr_format=3)[...] = values
                place.sync_tree(name)
    commit(place, arrays, attributes)
