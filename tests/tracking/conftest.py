"""A store, and a sweep that was tracked while it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import TINY, Answer, stackpop
from tracked import RUNS, result, write


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of four runs that are done."""
    write(tmp_path / "tiny.zarr", {index: result(index) for index in RUNS})
    return tmp_path / "tiny.zarr"


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A real sweep, tracked while it ran."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.yaml").write_text(TINY)
    options = ("--store", "tiny.zarr", "--workers", 1, "--track", "tensorboard")
    return folder, stackpop("sweep", "tiny.yaml", *options, cwd=folder)
