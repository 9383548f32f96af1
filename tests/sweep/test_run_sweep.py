"""From a sweep to its results, on a real small cluster, and from Python."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client, default_client

import stackpop
from command import TINY
from stackpop.cluster import ClusterOptions
from stackpop.errors import ClusterError, SpecError
from stackpop.store import Status
from stackpop.sweep import Plan, SweepOptions, execute
from tiny_sweep import Recorder, run, sweep


def test_every_run_is_done_and_told(client: Client, tmp_path: Path) -> None:
    recorder = Recorder()
    progress = execute(sweep(), SweepOptions(tmp_path / "s.zarr"), recorder, client=client)
    assert (progress.done, progress.failed, progress.in_flight, progress.followers_done) == (4, 0, 0, 4)
    assert progress.finished_now == 4
    assert str(recorder.plans[0][1]).startswith("http://127.0.0.1:")
    assert max(in_flight for _, in_flight in recorder.reports) >= 1
    results = stackpop.open_results(tmp_path / "s.zarr")
    assert (results.status == Status.DONE).all()
    assert (results.attempts == 1).all()
    assert np.isfinite(results.leader_return).all()
    assert np.isfinite(results.equilibrium_pure).all()
    assert all(str(address).startswith("tcp://127.0.0.1") for address in results.worker.values.flat)
    steps = int(results.env_steps.isel(iteration=-1).sum())
    assert progress.env_steps > steps  # the followers' too


def test_exact_oracle(client: Client, tmp_path: Path) -> None:
    text = TINY.replace("{updates: 4, batch_steps: 20, post_updates: 2}", "{oracle: exact}\ncommitment: replay")
    plan = run(client, sweep(text), tmp_path / "s.zarr")
    assert plan.followers_to_train == 0
    results = stackpop.open_results(tmp_path / "s.zarr")
    assert (results.status == Status.DONE).all()
    assert np.allclose(results.follower_regret, 0)


def test_sweep_without_axes(client: Client, tmp_path: Path) -> None:
    spec = sweep(TINY[: TINY.index("axes:")] + "matrix: chicken\n")
    assert run(client, spec, tmp_path / "s.zarr").spec.size == 1
    assert int(stackpop.open_results(tmp_path / "s.zarr").status) == Status.DONE


def test_run_sweep_from_python(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    found = stackpop.run_sweep(file, store=tmp_path / "s.zarr", overrides=["axes.seed=[7]"], client=client)
    assert found.sizes["seed"] == 1
    assert found.equilibrium_gap.sel(matrix="chicken").mean("seed").dims == ("iteration",)
    same = stackpop.run_sweep(stackpop.load_sweep(file, ["axes.seed=[7]"]), store=tmp_path / "s.zarr", client=client)
    xr.testing.assert_equal(found.load(), same.load())


def test_run_sweep_refuses_what_it_would_ignore(client: Client, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="overrides: expected none with a loaded sweep"):
        stackpop.run_sweep(sweep(), overrides=["leader.lr=1"])
    with pytest.raises(ClusterError, match="client: expected alone"):
        stackpop.run_sweep(sweep(), client=client, workers=2)
    for size in (0, "many", 1.5):
        with pytest.raises(SpecError, match="runs_per_task: expected a whole number of 1 or more, or auto"):
            stackpop.run_sweep(sweep(), runs_per_task=size, client=client)
    for limit in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(SpecError, match="run_limit: expected seconds above 0, got"):
            stackpop.run_sweep(sweep(), run_limit=limit, client=client)
    with pytest.raises(ClusterError, match="expected one of them, got both"):
        ClusterOptions(scheduler="tcp://127.0.0.1:1", scheduler_file="s.json")


def test_sweep_leaves_other_computations_where_they_were(client: Client, tmp_path: Path) -> None:
    """Had its client become Dask's default, xarray would load results through the cluster of a sweep."""

    class Onlooker(Recorder):
        def announce(self, plan: Plan, dashboard: str | None) -> None:
            super().announce(plan, dashboard)
            assert default_client() is client

    onlooker = Onlooker()
    execute(sweep(), SweepOptions(tmp_path / "s.zarr", cluster=ClusterOptions(workers=1)), onlooker)
    assert len(onlooker.plans) == 1
