"""Runs for a tracker, made again from what a store holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import TINY
from stackpop.spec import parse_sweep, stored_run
from stackpop.store.layout import label_array
from stackpop.tracking import ended_runs
from tracked import FAILED, result, write

SWEEPS = [
    TINY,
    "axes: {matrix: [chicken], leader.lr: [1, 0.5], game.memory: [none, joint], follower.early_stop: [true, false]}",
    "leader: {lr: 0.5}\naxes: {leader.algorithm: [pg, ppo], follower.oracle: [exact, contextual], seed: [3]}\n"
    "matrix: mine\npayoffs: {mine: [[[1, 2], [3, 4]]]}",
    "matrix: chicken\ncommitment: replay\nleader: {algorithm: ppo, value_clip: 10}",
]


@pytest.mark.parametrize("text", SWEEPS)
def test_runs_are_made_again_from_what_a_store_holds(text: str) -> None:
    spec = parse_sweep(text, "any")
    settings = json.loads(json.dumps(dict(spec.fixed)))
    labels = {dim: label_array(values).tolist() for dim, values in spec.labels.items()}
    for index in spec.indices():
        at = {dim: labels[dim][k] for dim, k in zip(spec.dims, index, strict=True)}
        assert stored_run(settings, at) == spec.run(index)


def test_runs_that_only_earlier_sweeps_had_are_there_too(tmp_path: Path) -> None:
    mine = "payoffs: {mine: [[[1, 2], [3, 4]]]}\n"
    for axes in ("matrix: [mine], seed: [1]", "matrix: [chicken], seed: [2]"):
        spec = parse_sweep((mine if "mine" in axes else "") + f"leader: {{updates: 4}}\naxes: {{{axes}}}", "any")
        write(tmp_path / "any.zarr", {(0, 0): FAILED}, spec)
    runs = list(ended_runs(tmp_path / "any.zarr", lambda _: True))
    assert [(run.settings["matrix"], run.settings["seed"]) for run in runs] == [("mine", 1), ("chicken", 2)]


def test_ids_are_stable_and_no_two_stores_share_them(tmp_path: Path) -> None:
    def ids(name: str) -> list[str]:
        return [run.key.id for run in ended_runs(tmp_path / name, lambda _: True)]

    for name in ("one.zarr", "two.zarr"):
        write(tmp_path / name, {(0, 0): result((0, 0))})
    before = ids("one.zarr")
    longer = parse_sweep(TINY.replace("[1, 2]", "[1, 2, 3]"), "tiny")
    write(tmp_path / "one.zarr", {(1, 2): result((1, 2))}, longer)
    assert ids("one.zarr")[:1] == before
    assert len({*ids("one.zarr"), *ids("two.zarr")}) == 3
