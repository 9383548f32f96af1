"""What all faults have in common."""

from __future__ import annotations

import time

import pytest

from command import Answer, stackpop
from harness import SWEEP, Undisturbed, arguments


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """An undisturbed sweep, once for all."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(SWEEP)
    begun = time.monotonic()
    assert stackpop(*arguments("whole.zarr"), cwd=folder) == Answer(0, "", "")
    return Undisturbed(folder, time.monotonic() - begun)
