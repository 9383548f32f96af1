"""Packs, segments, extensions and what is stored already change no bit of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import stackpop
from command import TINY, scheduler, worker
from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status
from stackpop.sweep import SweepOptions, execute
from stackpop.sweep.followers import Followers
from stores import bits
from tiny_sweep import HUGE, run, sweep


@pytest.fixture(scope="module")
def alone(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the tiny sweep, one run a task."""
    store = tmp_path_factory.mktemp("alone") / "tiny.zarr"
    run(client, sweep(), store)
    return store


@pytest.mark.parametrize("runs_per_task", [3, "auto"])
def test_packs_give_the_same_bits(client: Client, alone: Path, tmp_path: Path, runs_per_task: Any) -> None:
    plan = run(client, sweep(), tmp_path / "s.zarr", runs_per_task=runs_per_task)
    assert plan.tasks == 2
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "s.zarr"))
    xr.testing.assert_equal(bits(alone, "followers"), bits(tmp_path / "s.zarr", "followers"))


@pytest.mark.parametrize("runs_per_task", [1, "auto"])
def test_segments_give_the_same_bits(client: Client, tmp_path: Path, runs_per_task: Any) -> None:
    """And the same errors, of runs that diverge in their first update."""
    text, stores = HUGE + TINY, [tmp_path / "whole.zarr", tmp_path / "cut.zarr"]
    for store, more in zip(stores, [{}, {"segment": 3}], strict=True):
        progress = execute(
            sweep(text, axes__matrix="[huge, chicken]", **more), SweepOptions(store, runs_per_task), client=client
        )
        assert (progress.done, progress.failed, progress.in_flight) == (2, 2, 0)
    whole, cut = map(bits, stores)
    xr.testing.assert_equal(whole, cut)
    assert not (stores[1] / "unfinished").exists()


def test_running_again_does_nothing(alone: Path) -> None:
    before = stackpop.open_results(alone).load()
    stackpop.run_sweep(sweep(), store=alone, scheduler="tcp://127.0.0.1:1")  # which nobody would ask
    xr.testing.assert_equal(before, stackpop.open_results(alone).load())


def test_extension_trains_only_what_is_new(client: Client, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__matrix="[battle]", axes__seed="[2]"), store)
    first = stackpop.open_results(store).load()
    plan = run(client, sweep(axes__matrix="[chicken, battle]", axes__seed="[1, 2]"), store)
    assert (plan.done, len(plan.pending)) == (1, 3)
    assert plan.followers_to_train == 3
    after = stackpop.open_results(store).load()
    assert (after.status == Status.DONE).all()
    xr.testing.assert_equal(first, after.sel(matrix=["battle"], seed=[2]))


def test_extension_gives_the_bits_of_one_go(client: Client, alone: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__seed="[2]"), store)
    run(client, sweep(), store)
    order = stackpop.open_results(alone)
    xr.testing.assert_equal(bits(alone), bits(store).sel(matrix=order.matrix, seed=order.seed))


def test_new_leaders_reuse_stored_followers(client: Client, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__leader__lr="[0.1]"), store)
    followers = xr.open_zarr(store, group="followers").load()
    plan = run(client, sweep(axes__leader__lr="[0.1, 0.2]"), store)
    assert (len(plan.pending), plan.followers_to_train, plan.followers_reused) == (4, 0, 4)
    xr.testing.assert_equal(followers, xr.open_zarr(store, group="followers").load())
    whole = tmp_path / "whole.zarr"
    run(client, sweep(axes__leader__lr="[0.1, 0.2]"), whole)
    xr.testing.assert_equal(bits(whole), bits(store))


def test_networks_in_a_game_of_too_many_contexts_resume_with_the_same_bits(client: Client, tmp_path: Path) -> None:
    """A 3x3 game with joint memory has 59,049 contexts; its pure equilibrium is known all the same."""
    text = """\
payoffs: {dilemma: [[[3, 3], [0, 4], [0, 0]], [[4, 0], [1, 1], [0, 0]], [[0, 0], [0, 0], [0.5, 0.5]]]}
matrix: dilemma
game: {memory: joint, rounds: 2}
leader: {algorithm: pg, network: mlp, hidden: [4], updates: 4}
follower: {network: mlp, hidden: [5, 6], updates: 4, post_updates: 2}
evaluation_episodes: 3
axes: {seed: [1, 2]}
"""
    whole, parts = tmp_path / "whole.zarr", tmp_path / "parts.zarr"
    run(client, sweep(text), whole, runs_per_task=2)
    assert run(client, sweep(text, axes__seed="[1]"), parts).followers_to_train == 1
    assert run(client, sweep(text), parts).followers_to_train == 1
    xr.testing.assert_identical(bits(parts).drop_attrs(), bits(whole).drop_attrs())
    followers = bits(whole, "followers")
    xr.testing.assert_identical(bits(parts, "followers").drop_attrs(), followers.drop_attrs())
    assert followers.sizes["context"] == 0
    assert followers.sizes["follower_parameter"] == (30 + 1) * 5 + (5 + 1) * 6 + (6 + 1) * 30
    assert np.isfinite(followers.follower_parameters).all()
    results = bits(whole)
    assert (results.status == Status.DONE).all()
    assert np.isfinite(results.equilibrium_pure)
    assert np.isnan(results.equilibrium_resample)
    gap = results.equilibrium_pure - results.leader_return
    np.testing.assert_allclose(results.equilibrium_gap, gap, rtol=1e-5, atol=1e-5)
    assert np.isnan(results.follower_regret).all()
    again = run(client, sweep(text, axes__leader__lr="[0.1]"), tmp_path / "axis.zarr")
    assert again.followers_to_train == 2


def test_stored_networks_are_met_again(client: Client, tmp_path: Path) -> None:
    """New leaders train against followers that are read from the store, with the same bits as in one go."""
    follower = "{network: mlp, hidden: [3], updates: 4, batch_steps: 20, post_updates: 2}"
    once, later = tmp_path / "once.zarr", tmp_path / "later.zarr"
    run(client, sweep(follower=follower, axes__leader__lr="[0.1, 0.2]"), once)
    run(client, sweep(follower=follower, axes__leader__lr="[0.1]"), later)
    assert run(client, sweep(follower=follower, axes__leader__lr="[0.1, 0.2]"), later).followers_reused == 4
    xr.testing.assert_identical(bits(later).drop_attrs(), bits(once).drop_attrs())


def test_followers_beyond_the_limit_are_read_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.sweep.followers.REMEMBERED_BYTES", 3000)
    spec = sweep(axes__seed="[1, 2, 3, 4]")
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        followers = Followers(spec, writer.followers)
        shape = tuple(spec.follower_sizes[dim] for dim in ("context", "state", "action"))
        for index in spec.indices():
            certificate = {"follower_regret_worst": np.zeros(1), "updates": np.array(1)}
            logits = {"follower_logits": np.full(shape, 10.0 * index[0] + index[1])}
            followers.ended(index, TrainingResult({**logits, **certificate}))
        writer.flush()
        assert len(followers._known) == 2  # of about a kilobyte each
        for index in [*spec.indices(), (0, 0)]:
            follower = spec.run(index).follower_spec()
            assert follower is not None
            known = followers.known(index, follower)
            assert known is not None
            assert (known.arrays["follower_logits"] == 10 * index[0] + index[1]).all()
            assert len(followers._known) == 2


@pytest.mark.slow
def test_scheduler_by_file_and_by_address(alone: Path, tmp_path: Path) -> None:
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path / "scratch"):
        stackpop.run_sweep(sweep(), store=tmp_path / "file.zarr", scheduler_file=str(file))
        with Client(scheduler_file=str(file)) as client:
            address = client.scheduler_info(n_workers=0)["address"]
        stackpop.run_sweep(sweep(), store=tmp_path / "address.zarr", scheduler=address)
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "file.zarr"))
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "address.zarr"))
