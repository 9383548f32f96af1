"""A store as xarray reads it, without stackpop."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import xarray as xr

from stackpop.store import ResultsWriter, Status, open_results
from toy_store import GAMES, Sweep, fill

NOTEBOOK = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np, xarray as xr
ds = xr.open_zarr(sys.argv[1])
assert ds.matrix.values.tolist() == ["chicken", "prisoners_dilemma", "stag_hunt"]
assert ds.iteration.values.tolist() == [1, 2, 3, 4] and ds.state.values.tolist() == [0, 1, 2, 3, 4]
assert ds.equilibrium_gap.dims == ("matrix", "seed", "iteration")
curve = ds.equilibrium_gap.sel(matrix="chicken").mean("seed")
assert curve.shape == (4,) and np.isfinite(curve).all()
assert "equilibrium_pure" in ds.equilibrium_gap.coords and "equilibrium_pure" in ds.coords
assert ds.env_steps.dtype == "int64" and ds.attempts.dtype == "int16" and ds.status.dtype == "int8"
assert ds.started.values[0, 0] == np.datetime64("2023-11-14T22:13:20")
tree = xr.open_datatree(sys.argv[1], engine="zarr")
assert tree.followers.follower_logits.dtype == "float64"
assert np.isnat(tree.followers.started.values).all()
for node in tree.subtree:
    for name, variable in node.variables.items():
        assert variable.attrs["long_name"] and variable.attrs["description"], name
        assert "units" in variable.attrs or "units" in variable.encoding, name
        assert variable.dtype != object, name
        str(variable.values)
    versions = ("schema_version", "zarr_version", "source_hash")
    for key in ("title", "spec", "settings", "created_at", "Conventions", "machine", *versions):
        assert node.attrs[key], key
assert "stackpop" not in sys.modules
"""


def test_plain_xarray_reads_the_store_without_stackpop_or_warnings(store: Path) -> None:
    fill(store, Sweep())
    command = [sys.executable, "-c", NOTEBOOK, str(store)]
    answer = subprocess.run(command, cwd=store.parent, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_numeric_labels_keep_their_exact_values(store: Path) -> None:
    rates = (1 / 3, 1e-3, 0.1 + 0.2)
    fill(store, Sweep(labels={"leader_lr": rates, "flag": (True, False)}))
    assert open_results(store).leader_lr.values.tolist() == list(rates)
    with ResultsWriter(store, Sweep(labels={"leader_lr": rates[::-1], "flag": (False,)})) as writer:
        assert (writer.leaders.status == Status.DONE).all()


def test_an_open_dataset_stays_readable_while_the_store_grows(store: Path) -> None:
    fill(store, Sweep())
    before = xr.open_zarr(store)
    fill(store, replace(Sweep(), labels={"matrix": (*GAMES, "hero"), "seed": (1, 2, 3)}))
    assert before.entropy.load().shape == (3, 2, 4)
