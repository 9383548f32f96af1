"""A small store, and its results."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from drawn import GRID, SWEEP
from stackpop.spec import parse_sweep
from stackpop.store import open_results
from support import trained_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two games, two rates, two seeds; the last run is missing."""
    return trained_store(tmp_path_factory.mktemp("figures") / "s.zarr", parse_sweep(SWEEP + GRID, "s"), left_out=1)


@pytest.fixture
def results(store: Path) -> xr.Dataset:
    return open_results(store)
