"""Training as on a GPU, without one: PyTorch takes NumPy's place, and a device that holds no numbers a GPU's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stackpop import arrays
from stackpop.cluster import Workers, connect
from stackpop.cluster.local import local_cluster
from stackpop.devices import computing_on, gpu_names, has_gpu
from stackpop.errors import ClusterError, SpecError, StoreError
from stackpop.games import Game, GameBatch, all_tables
from stackpop.learners import Phase, Streams, fresh_parameters, make_followers, make_leaders
from stackpop.spec import ClusterSpec, parse_sweep
from stackpop.spec.cluster import LocalSettings
from stackpop.store import ResultsWriter, Status, open_results
from stackpop.sweep.run import SweepOptions, execute
from stackpop.training import train_leaders
from stackpop.training.followers import _random_leader_rounds, _table_draws, learn
from stackpop.training.queried import QueriedFollowers
from support import random_payoffs, run_spec, train
from training_packs import LEADERS, NUMPY_NOWHERE, ORACLES, PROTOCOLS, pack

TINY = """
axes: {matrix: [chicken, stag_hunt], seed: [1, 2]}
game: {memory: none, rounds: 3}
leader: {algorithm: pg, updates: 3}
follower: {oracle: contextual, updates: 3, post_updates: 1}
"""


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("leader", LEADERS)
def test_torch_and_numpy_compute_the_same_curves(leader: str, oracle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = list(PROTOCOLS.values())[len(leader) % 3] if oracle == "contextual" else {}
    specs = pack(leader, oracle, **protocol)
    expected = train(specs)
    monkeypatch.setattr(arrays, "NUMPY_DEVICES", NUMPY_NOWHERE)
    for before, now in zip(expected, train(specs), strict=True):
        for one, other in zip(before, now, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert (one.error, other.error) == ("", "")
                assert one.arrays.keys() == other.arrays.keys()
                for name, values in one.arrays.items():
                    np.testing.assert_allclose(other.arrays[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


class NoNewNumbers(TorchFunctionMode):
    """To make a tensor of Python's numbers is an error: on a GPU it would wait until they are copied there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor)
        assert not made or args[0] == [], func  # PyTorch asks an empty tensor for the default device
        return func(*args, **(kwargs or {}))


class OnDeviceAlone(TorchDispatchMode):
    """An operation with a tensor of the CPU is an error: on a GPU it would wait, or fail.

    Single numbers are let through; operations take them along without waiting.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, found)):
            if isinstance(each, torch.Tensor) and each.dim():
                assert each.device.type == "meta", func
        return found


@pytest.mark.parametrize(
    ("leader", "oracle", "protocol"),
    [
        *((leader, "contextual", "resample") for leader in LEADERS),
        *(("pg", oracle, protocol) for oracle in ("contextual-mlp", "exact") for protocol in PROTOCOLS),
    ],
)
def test_an_update_waits_for_no_device(leader: str, oracle: str, protocol: str) -> None:
    """PyTorch's device `meta` has shapes and no numbers: to look at one is an error."""
    specs = pack(leader, oracle, **PROTOCOLS[protocol])
    learned = {
        training.follower_id: np.zeros(training.follower.parameter_shape(training.to_game()))
        for spec in specs
        if (training := spec.follower_spec())
    }
    settings, spec = [each.leader for each in specs], specs[0]
    with torch.device("meta"), torch.inference_mode():
        followers = QueriedFollowers.of(specs, learned)
        leaders = make_leaders(settings, spec.leader_states, 2, [each.seed for each in specs])
        envs = spec.leader.episodes(followers.episode_steps)
        with NoNewNumbers(), OnDeviceAlone():
            for _ in range(2):
                leaders.update(followers.play(leaders.behaviour(envs), envs))
        curves = followers.curves(torch.stack([leaders.policy] * 2, 1))
        curves |= followers.post_train(leaders.policy[:, None])
    assert leaders.policy.shape == (3, spec.leader_states, 2)
    assert {each.device.type for each in (leaders.policy, *curves.values())} == {"meta"}


@pytest.mark.parametrize("network", ["contextual", "contextual-mlp"])
def test_a_follower_update_waits_for_no_device(network: str) -> None:
    specs = [training for spec in pack("pg", network) if (training := spec.follower_spec())]
    settings, seeds = [spec.follower for spec in specs], [spec.seed for spec in specs]
    with torch.device("meta"), torch.inference_mode():
        game, streams = GameBatch.of([spec.to_game() for spec in specs]), Streams(seeds, Phase.FOLLOWER_TRAINING)
        start = fresh_parameters(settings[0], game, Streams(seeds, Phase.FOLLOWER_INIT))
        follower = make_followers(settings, start, game)

        def update() -> None:
            uniforms = streams.uniform(8, _table_draws(game, settings[0]) + game.rounds)
            learn(game, follower, *_random_leader_rounds(game, follower, uniforms))

        update()  # the first makes what all others use
        with NoNewNumbers(), OnDeviceAlone():
            update()
    assert follower.parameters.device.type == "meta"


def test_a_device_gives_the_same_returns_statistically(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means over seeds, from the same uniform numbers and other normal ones."""
    specs = [
        run_spec(
            "stag_hunt",
            seed=seed,
            leader={"algorithm": "simple_q", "updates": 40, "minibatch": 64},
            follower={"oracle": "exact"},
        )
        for seed in range(60)
    ]
    on_cpu = train_leaders(specs, {})
    monkeypatch.setattr(arrays, "NUMPY_DEVICES", NUMPY_NOWHERE)
    monkeypatch.setattr("stackpop.learners.streams.NUMPY_DEVICES", NUMPY_NOWHERE)
    as_on_device = train_leaders(specs, {})
    for name in ("leader_return", "follower_return", "leader_return_sampled"):
        one, other = (
            np.array([result.arrays[name][-10:].mean() for result in each]) for each in (on_cpu, as_on_device)
        )
        assert (one != other).any()
        error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(specs))
        assert abs(one.mean() - other.mean()) < 3 * error, name


def test_tables_are_cached_by_device() -> None:
    on_cpu = all_tables(3, 2)
    with torch.device("meta"):
        assert all_tables(3, 2).device.type == "meta"
    assert all_tables(3, 2) is on_cpu


@pytest.mark.parametrize("memory", ["none", "opponent", "joint"])
def test_a_batch_counts_the_states_of_its_games(memory: Any) -> None:
    game = Game(random_payoffs(1, 2, 3), memory)
    batch = GameBatch.of([game])
    assert batch.leader_states == game.leader_states == int(batch.leader_observation.max()) + 1
    assert batch.follower_states == game.follower_states == int(batch.follower_observation.max()) + 1


def test_gpus_keep_the_names_that_the_machine_gave_them() -> None:
    assert gpu_names(3, "") == ["0", "1", "2"]
    assert gpu_names(2, "4, GPU-8f") == ["4", "GPU-8f"]


@pytest.mark.skipif(has_gpu(), reason="this machine has one")
def test_without_a_gpu() -> None:
    specs = pack("pg", "exact", runs=1)
    line = r"^device: expected a GPU on this machine, got none that PyTorch can use; [^\n]+$"
    with pytest.raises(ClusterError, match=line):
        train_leaders(specs, {}, "cuda")
    with computing_on("auto") as device:
        assert device.type == "cpu"
        assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_the_device_of_a_sweep_names_no_run(device: str) -> None:
    spec, other = parse_sweep(TINY, "tiny"), parse_sweep(TINY, "tiny", [f"device={device}"])
    assert (spec.device, other.device) == ("cpu", device)
    assert [spec.run(at).run_id for at in spec.indices()] == [other.run(at).run_id for at in other.indices()]
    assert parse_sweep(other.to_yaml(), "tiny") == other
    assert "device" not in spec.to_yaml()
    assert parse_sweep(TINY + "device: cpu\n", "tiny") == spec


@pytest.mark.parametrize("wrong", ["cud", "gpu", "1", "[cpu]", "null"])
def test_unknown_device(wrong: str) -> None:
    with pytest.raises(SpecError, match=r"^[^\n]*device: expected cpu, cuda or auto, got [^\n]+$"):
        parse_sweep(TINY, "tiny", [f"device={wrong}"])
    with pytest.raises(SpecError, match="device"):
        parse_sweep("matrix: chicken\naxes: {device: [cpu, cuda]}\n", "tiny")


def test_a_store_holds_runs_of_one_choice_of_device(tmp_path: Path) -> None:
    spec, other = parse_sweep(TINY, "tiny"), parse_sweep(TINY, "tiny", ["device=auto"])
    for first, then in ((spec, other), (other, spec)):
        store = tmp_path / f"{first.device}.zarr"
        with ResultsWriter(store, first):
            pass
        with ResultsWriter(store, first):
            pass
        line = f'device was "{first.device}", is now "{then.device}"; change it back, or name another --store'
        with pytest.raises(StoreError, match=line), ResultsWriter(store, then):
            pass


@pytest.mark.skipif(has_gpu(), reason="this machine has one")
def test_a_local_cluster_without_a_gpu(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    with pytest.raises(ClusterError, match=r"^device: expected a GPU on this machine, got none"):
        execute(parse_sweep(TINY, "tiny", ["device=cuda"]), SweepOptions(store))
    assert not store.exists()


class Stop(Exception):  # noqa: N818 it is no error
    """Ends a wait."""


@pytest.mark.slow
def test_one_worker_a_gpu(tmp_path: Path) -> None:
    """As if there were two GPUs. `auto` trains where they are offered, on the CPU if there are none after all."""
    settings = LocalSettings(workers=5, dashboard_port=0)
    with (
        local_cluster(settings, gpus=["3", "GPU-8f"]) as (cluster, _),
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["3", "GPU-8f"]
        assert Workers(client, device="auto").threads() == 2
        scheduler = client.scheduler.address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "3", "--no-nanny"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as plain:
            try:
                client.wait_for_workers(3)
                assert Workers(client).threads() == 5
                assert Workers(client, device="auto").threads() == 2
                offering = {at for at, each in client.scheduler_info()["workers"].items() if each["resources"]}
                spec = parse_sweep(TINY, "tiny", ["device=auto"])
                execute(spec, SweepOptions(tmp_path / "s.zarr"), client=client)
                results = open_results(tmp_path / "s.zarr").load()
                assert (results.status == Status.DONE).all()
                assert set(results.worker.values.flat) <= offering
                assert len(offering) == 2
                if not has_gpu():
                    with pytest.raises(ClusterError, match=r"^device: expected a GPU on worker tcp://\S+, got none"):
                        Workers(client, device="cuda").threads()
            finally:
                plain.terminate()


@pytest.mark.slow
def test_a_sweep_that_needs_a_gpu_waits_for_a_worker_that_offers_one() -> None:
    told: list[str] = []

    def waiting(message: str) -> None:
        told.append(message)
        raise Stop

    with connect(ClusterSpec(LocalSettings(workers=1, dashboard_port=0))) as connection:
        client = connection.client
        client.wait_for_workers(1)
        with pytest.raises(Stop):
            Workers(client, device="cuda").wait(waiting)
    assert "waiting for a worker that offers a GPU (`dask worker tcp://" in told[0]
    assert "--resources GPU=1`)" in told[0]
