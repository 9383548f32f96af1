"""Results for other tools say what the store says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stackpop.analysis import convergence_time, final
from stackpop.errors import StackpopError
from stackpop.export import export, run_table
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter, open_results
from support import trained_store

SWEEP = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 2}
evaluation_episodes: 2
axes: {matrix: [chicken, battle], leader.lr: [0.1, 0.2], seed: [1, 2]}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs, of which the last is missing."""
    return trained_store(tmp_path_factory.mktemp("export") / "s.zarr", parse_sweep(SWEEP, "s"), left_out=1)


def test_a_table_has_a_row_a_run_with_its_labels_and_ends(store: Path, tmp_path: Path) -> None:
    export(str(store), "csv", tmp_path / "new" / "s.csv", window=2)
    table, results = pd.read_csv(tmp_path / "new" / "s.csv"), open_results(store)
    assert list(table.columns[:4]) == ["matrix", "leader_lr", "seed", "status"]
    assert table.status.tolist() == ["done"] * 7 + ["pending"]
    ends = final(results.leader_return, 2)
    for row in table.itertuples():
        at = {"matrix": row.matrix, "leader_lr": row.leader_lr, "seed": row.seed}
        assert row.leader_return == pytest.approx(float(ends.sel(at)), nan_ok=True)
        assert row.equilibrium_pure == float(results.equilibrium_pure.sel(matrix=row.matrix))
    assert table.env_steps[:7].tolist() == results.env_steps.isel(iteration=-1).values.ravel()[:7].tolist()
    assert table.iloc[-1][["leader_return", "env_steps", "converged"]].isna().all()
    times = convergence_time(results, window=2)
    assert table.convergence_update.values == pytest.approx(times.updates.values.ravel(), nan_ok=True)
    assert not {"leader_policy", "iteration", "state"} & set(table.columns)


def test_parquet_holds_what_csv_holds(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `export`")
    export(str(store), "parquet", tmp_path / "s.parquet")
    found = pd.read_parquet(tmp_path / "s.parquet")
    expected = run_table(open_results(store))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_netcdf_holds_everything(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf", reason="the extra `export`")
    pytest.importorskip("h5py", reason="the extra `export`")
    export(str(store), "netcdf", tmp_path / "s.nc")
    for group in (None, "followers"):
        expected = open_results(store, group)
        with xr.open_dataset(tmp_path / "s.nc", engine="h5netcdf", group=group) as found:
            assert set(found.variables) == set(expected.variables)
            for name, values in expected.variables.items():
                as_texts = [each.values.astype(object).astype(str) for each in (found[name], values)]
                np.testing.assert_array_equal(*as_texts, err_msg=str(name))
                assert found[name].attrs.get("long_name") == values.attrs.get("long_name")
            assert found.attrs["spec"] == expected.attrs["spec"]


def test_sweeps_without_axes_and_searches_have_a_table(tmp_path: Path) -> None:
    start = SWEEP.split("axes:")[0] + "matrix: chicken\n"
    one = run_table(open_results(trained_store(tmp_path / "one.zarr", parse_sweep(start, "one"))))
    assert len(one) == 1
    assert one.status.tolist() == ["done"]
    text = "search: {method: random, trials: 2, space: {leader.lr: {low: 0.1, high: 0.2}}}\n"
    spec = parse_sweep(start + text, "tried")
    with ResultsWriter(tmp_path / "t.zarr", spec) as writer:
        writer.leaders.record((0,), TrainingResult({"leader_return": np.ones(4, dtype=np.float32)}))
    tried = run_table(open_results(tmp_path / "t.zarr"))
    assert tried.trial.tolist() == [0, 1]
    assert "leader_lr" in tried.columns


def test_mistakes_are_one_sentence(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackpopError, match=r"expected a file to write, got .*; name another"):
        export(str(store), "csv", tmp_path / "file" / "s.csv")
    monkeypatch.setattr("stackpop.export.find_spec", lambda name: None)
    with pytest.raises(
        StackpopError, match=r"expected pyarrow for parquet, got none; pip install 'stackpop\[export\]'"
    ):
        export(str(store), "parquet", tmp_path / "s.parquet")
