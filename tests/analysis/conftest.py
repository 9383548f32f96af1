"""Results that several files compare."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from known_results import along, swept


@pytest.fixture
def noisy() -> xr.Dataset:
    """Returns of which the seed explains nearly everything: only pairs tell that a higher rate costs 1 or 2."""
    seeds = np.array([0.0, 100, -30, 50, 7])[:, None]
    noise = np.random.default_rng(0).normal(size=(3, 2, 2, 5, 1)) / 100
    return swept(along(0, -1, -2) + seeds + noise)
