"""Read a store, also while another process writes to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from stackpop.errors import StoreError, explain
from stackpop.store.documents import array_nodes, read_root
from stackpop.store.faults import storage_faults
from stackpop.store.group import open_array
from stackpop.store.lock import WriterInfo, writer_of
from stackpop.store.schema import FOLLOWERS, STATUS, Status

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class FailedRun:
    """A run that failed for its own reasons: its labels along the swept dims, and the error."""

    labels: Mapping[str, Any]
    error: str


@dataclass(frozen=True)
class GroupProgress:
    """How far the runs of one group are: sizes of the swept dims, number of runs by status, failed runs."""

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

    folder = Path(path)
    root = read_root(folder)
    if group is not None and group not in root["consolidated_metadata"]["metadata"]:
        remedy = "leave the group out: the sweep's oracle was exact and trained no followers"
        raise StoreError(explain(f"store {folder}", expected=f"a group {group!r}", got="none", remedy=remedy))
    return xr.open_zarr(folder, group=group, consolidated=True)


def read_progress(path: str | os.PathLike[str]) -> Progress:
    """How far the sweep in a store is; safe while another process writes.

    Raises:
        StoreError: not a store of ours, from a newer version, or unreadable.
    """
    folder = Path(path).resolve()
    document = read_root(folder)
    writer = writer_of(folder)
    with storage_faults(folder):
        root = zarr.open_group(folder, mode="r", use_consolidated=True)
        has_followers = f"{FOLLOWERS}/{STATUS.name}" in array_nodes(document)
        return Progress(
            name=str(document["attributes"]["name"]),
            leaders=_group_progress(root, "", writer is not None),
            followers=_group_progress(root, f"{FOLLOWERS}/", writer is not None) if has_followers else None,
            writer=writer,
        )


def _group_progress(root: zarr.Group, prefix: str, live: bool) -> GroupProgress:
    array = open_array(root, prefix + STATUS.name)
    status = np.array(array[...])
    if not live:
        status[status == Status.RUNNING] = Status.PENDING
    dims = tuple(str(dim) for dim in array.metadata.dimension_names or ())
    tally = np.bincount(status.ravel(), minlength=len(Status))
    return GroupProgress(
        sizes=dict(zip(dims, status.shape, strict=True)),
        counts={kind: int(tally[kind]) for kind in Status},
        failures=_failures(root, prefix, dims, np.argwhere(status == Status.FAILED)),
    )


def _failures(root: zarr.Group, prefix: str, dims: tuple[str, ...], failed: Any) -> tuple[FailedRun, ...]:
    if not len(failed):
        return ()
    labels = {dim: np.asarray(open_array(root, prefix + dim)[...]).tolist() for dim in dims}
    errors = np.asarray(open_array(root, f"{prefix}error")[...])
    return tuple(
        FailedRun({dim: labels[dim][k] for dim, k in zip(dims, index, strict=True)}, str(errors[tuple(index)]))
        for index in failed
    )
