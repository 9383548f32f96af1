"""Stores as plain xarray reads them, and what of them is the same wherever and whenever their runs were trained."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

# What depends on where and when a run was trained, and not on what it learned.
CIRCUMSTANCES = ["wall_seconds", "worker", "started", "finished", "attempts"]


def stored(store: Path, group: str | None = None) -> xr.Dataset:
    """The results of a group, in memory."""
    with xr.open_zarr(store, group=group, consolidated=True) as dataset:
        dataset.status.load()  # first, for a sweep may be writing: a run that is done now has all its arrays already
        return dataset.load()


def bits(store: Path, group: str | None = None) -> xr.Dataset:
    """The results of a group that the same sweep has in any other store, too."""
    return stored(store, group).drop_vars(CIRCUMSTANCES)
