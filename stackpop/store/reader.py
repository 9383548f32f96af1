"""Read a store, also while another process writes to it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError, explain
from stackpop.spec import TRAINED_ORACLES
from stackpop.store.arrays import open_array
from stackpop.store.documents import array_nodes, read_root
from stackpop.store.layout import Document, Layout, Sweep
from stackpop.store.location import Location, WriterInfo, locate
from stackpop.store.plan import (
    Positions,
    open_group,
    plan_groups,
    stored_dims,
    stored_labels,
    trains_followers,
)
from stackpop.store.provenance import check_comparable
from stackpop.store.schema import FOLLOWERS, ORACLE_DIM, RUN_VARIABLES, STATUS, Status
from stackpop.store.unfinished import unfinished_runs

if TYPE_CHECKING:
    import xarray as xr

Statuses = NDArray[np.int8]


@dataclass(frozen=True)
class FailedRun:
    """A run that failed for its own reasons, or was blocked: its labels along the swept dims, status and error."""

    labels: Mapping[str, Any]
    status: Status
    error: str


@dataclass(frozen=True)
class GroupProgress:
    """How far the runs of one group are: sizes of the swept dims, number of runs by status, failed and
    blocked runs.

    Followers of an oracle that needs no training are in none of these.
    """

    sizes: Mapping[str, int]
    counts: Mapping[Status, int]
    failures: tuple[FailedRun, ...]

    @property
    def total(self) -> int:
        """Number of runs."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Progress:
    """How far a sweep is. Without a live writer, runs that were interrupted count as pending."""

    name: str
    leaders: GroupProgress
    followers: GroupProgress | None
    writer: WriterInfo | None


def open_results(path: str | os.PathLike[str], group: str | None = None) -> xr.Dataset:
    """The results of a sweep, loaded lazily: the leader runs, or with `group="followers"` the follower trainings.

    Raises:
        StoreError: not a store of ours, from a newer version, or without that group.
    """
    import xarray as xr

    place = locate(path)
    root = read_root(place)
    if group is not None and group not in root["consolidated_metadata"]["metadata"]:
        remedy = f"the only group is {FOLLOWERS!r}, and a sweep whose oracles need no training has none"
        raise StoreError(explain(f"store {place}", expected=f"a group {group!r}", got="none", remedy=remedy))
    dataset: xr.Dataset = xr.open_zarr(place.zarr(), group=group, consolidated=True, zarr_format=3)
    return dataset


def read_progress(path: str | os.PathLike[str]) -> Progress:
    """How far the sweep in a store is; safe while another process writes.

    Raises:
        StoreError: not a store of ours, from a newer version, or unreadable.
    """
    place = locate(path)
    document = read_root(place)
    dims = stored_dims(array_nodes(document))
    writer = place.writer()
    with place.faults():
        root = open_group(place)
        groups = {group: _group_progress(root, group, dims[group], live=writer is not None) for group in dims}
    return Progress(str(document["attributes"]["name"]), groups[""], groups.get(FOLLOWERS), writer)


def count_unfinished(path: str | os.PathLike[str]) -> int:
    """How many leader runs go on from the middle, where their last segment ended; safe while another process writes.

    Raises:
        StoreError: unreadable.
    """
    return len(unfinished_runs(locate(path)))


def read_statuses(path: str | os.PathLike[str], spec: Sweep) -> tuple[Statuses, Statuses | None]:
    """Status of each run of a sweep, of the leaders and of the followers (None if it trains none), by its grid.

    Writes nothing and takes no lock, so it serves a plan. Without a store every run is pending; so are running ones.

    Raises:
        StoreError: as ResultsWriter does for a store that this sweep cannot use.
    """
    place = locate(path)
    if place.holds_nothing():
        documents, labels = {}, {}
    else:
        root = read_root(place)
        documents = array_nodes(root)
        check_comparable(place, spec, root["attributes"], stored_dims(documents))
        labels = stored_labels(place, documents, spec.dims)
    layouts, positions = plan_groups(spec, labels, documents)
    with place.faults():
        leaders = _planned_status(place, layouts[""], positions, documents)
        if not trains_followers(spec):
            return leaders, None
        return leaders, _planned_status(place, layouts[FOLLOWERS], positions, documents)


def _planned_status(
    place: Location, layout: Layout, positions: Positions, documents: Mapping[str, Document]
) -> Statuses:
    status = np.zeros([len(layout.labels[dim]) for dim in layout.run_dims], dtype=np.int8)
    name = layout.path(STATUS.name)
    if name in documents:
        stored = np.asarray(open_array(open_group(place), name)[...])
        status[tuple(map(slice, stored.shape))] = stored
    status[status == Status.RUNNING] = Status.PENDING
    return status[np.ix_(*(positions[dim] for dim in layout.run_dims))] if layout.run_dims else status


def bytes_per_run(spec: Sweep) -> tuple[int, int]:
    """Bytes of one leader run and of one follower training in the store, before compression (text not counted)."""
    layouts, _ = plan_groups(spec, {}, {})
    leaders, followers = (_bytes(layouts[group]) if group in layouts else 0 for group in ("", FOLLOWERS))
    return leaders, followers


def _bytes(layout: Layout) -> int:
    numbers = [v for v in (*layout.variables, *RUN_VARIABLES, STATUS) if v.dtype != "string"]
    return sum(np.dtype(v.dtype).itemsize * math.prod(layout.sizes[dim] for dim in v.dims) for v in numbers)


def _group_progress(root: zarr.Group, group: str, dims: tuple[str, ...], *, live: bool) -> GroupProgress:
    prefix = f"{group}/" if group else ""
    status = np.array(open_array(root, prefix + STATUS.name)[...])
    if group == FOLLOWERS and ORACLE_DIM in dims:
        trained = np.isin(np.asarray(open_array(root, prefix + ORACLE_DIM)[...]), list(TRAINED_ORACLES))
        status = status.compress(trained, axis=dims.index(ORACLE_DIM))
    if not live:
        status[status == Status.RUNNING] = Status.PENDING
    tally = np.bincount(status.ravel(), minlength=len(Status))
    return GroupProgress(
        sizes=dict(zip(dims, status.shape, strict=True)),
        counts={kind: int(tally[kind]) for kind in Status},
        failures=_failures(root, prefix, dims, status),
    )


def _failures(root: zarr.Group, prefix: str, dims: tuple[str, ...], status: Statuses) -> tuple[FailedRun, ...]:
    failed = np.argwhere(np.isin(status, [Status.FAILED, Status.BLOCKED]))
    if not len(failed):
        return ()
    labels = {dim: np.asarray(open_array(root, prefix + dim)[...]).tolist() for dim in dims}
    errors = np.asarray(open_array(root, f"{prefix}error")[...])
    return tuple(
        FailedRun(
            {dim: labels[dim][k] for dim, k in zip(dims, index, strict=True)},
            Status(status[tuple(index)]),
            str(errors[tuple(index)]),
        )
        for index in failed
    )
