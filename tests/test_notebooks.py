"""The notebooks beside the sweep files: each runs from its first cell to its last, on a short store of its sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from distributed import Client, LocalCluster
from nbclient import NotebookClient

from shortened import FILES, SWEEPS, shortened
from stackpop.sweep import SweepOptions, execute

NOTEBOOKS = sorted(SWEEPS.glob("*.ipynb"))
OWN_STORE = "going_further"  # makes its own
NAMES = [notebook.stem for notebook in NOTEBOOKS]


def code(notebook: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def test_every_sweep_has_a_notebook() -> None:
    assert sorted([*(file.stem for file in FILES), OWN_STORE]) == NAMES


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_outputs_are_not_kept(notebook: Path) -> None:
    nbformat.validate(nbformat.read(notebook, as_version=4))
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_the_first_half_does_without_stackpop(notebook: Path) -> None:
    sources = [cell.source for cell in code(notebook)]
    if notebook.stem != OWN_STORE:
        first = next(k for k, source in enumerate(sources) if "stackpop" in source)
        assert first >= 3
        assert f"../results/{notebook.stem}.zarr" in sources[0]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_it_runs(client: Client, tmp_path: Path, notebook: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    if notebook.stem != OWN_STORE:
        spec = shortened(notebook.with_suffix(".yaml"))
        execute(spec, SweepOptions(tmp_path / f"results/{notebook.stem}.zarr", "auto"), client=client)
    place = {"metadata": {"path": str(tmp_path / "sweeps")}}
    NotebookClient(nbformat.read(notebook, as_version=4), timeout=120, resources=place).execute()
