"""Stores that trackers are shown, and what TensorBoard was told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from command import TINY
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.store import ResultsWriter, open_results
from stackpop.tracking import default_folder, ended_runs

SPEC = parse_sweep(TINY, "tiny")
RUNS = list(SPEC.indices())
CURVES = ("leader_return", "equilibrium_gap", "entropy")


def result(index: tuple[int, ...], updates: int = 4) -> TrainingResult:
    """Curves that no other run has."""
    first = 10.0 * index[0] + index[1]
    arrays = {name: first + np.arange(updates) / 8 + k for k, name in enumerate(CURVES)}
    steps = {"env_steps": 20 * np.arange(1, updates + 1)}
    policy = {"leader_policy": np.full((updates, 3, 2), 0.5)}
    post = {"post_leader_return": first + np.array([50.0, 51.0])}
    return TrainingResult({**arrays, **steps, **policy, **post}, started=1000.0, finished=1010.0, worker="tcp://here")


FAILED = TrainingResult({}, "ValueError: no", started=1000.0, finished=1001.0)


def write(store: Path, results: dict[tuple[int, ...], TrainingResult], spec: SweepSpec = SPEC) -> None:
    with ResultsWriter(store, spec) as writer:
        for index in writer.missing_ground_truth():
            writer.record_ground_truth(index, {"equilibrium_pure": 3.0 + index[0]})
        for index, one in results.items():
            writer.leaders.record(index, one)


Scalars = dict[str, list[tuple[int, float]]]  # tag -> (step, value)


def event_files(store: Path) -> dict[str, Scalars]:
    """The scalars of every event file, by its folder."""
    files = default_folder(store).rglob("events.out.tfevents.*")
    return {path.parent.name: scalars(path.parent) for path in files}


def scalars(folder: Path) -> Scalars:
    assert len(list(folder.iterdir())) == 1
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    (start,) = found.PluginTagToContent("hparams").values()
    assert b"leader.lr" in start
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def check_event_files(store: Path) -> None:
    """Every run of a finished store is there, each step once, with the store's values."""
    results = open_results(store).load()
    logged = event_files(store)
    assert len(logged) == results.status.size
    for run in ended_runs(store, lambda _: True):
        found = logged[f"{run.key.name}-{run.key.id}"]
        where = {"matrix": run.settings["matrix"], "seed": run.settings["seed"]}
        for name, values in results.sel(where).data_vars.items():
            if values.dims == ("iteration",) and values.notnull().any() and not (values == -1).any():
                assert [step for step, _ in found[str(name)]] == list(range(1, values.size + 1))
                assert [value for _, value in found[str(name)]] == values.values.tolist()
            elif values.dims == ("post_iteration",) and values.notnull().any():
                tag = str(name).replace("post_", "post/", 1)
                assert found[tag] == list(enumerate(values.values.tolist(), start=1))
        assert found["exact/equilibrium_pure"] == [(results.sizes["iteration"], results.sel(where).equilibrium_pure)]
