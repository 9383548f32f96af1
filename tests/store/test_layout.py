"""Sizes of runs, chunks and blocks, and names of variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stackpop.store import ResultsWriter, bytes_per_run, open_results
from stackpop.store.layout import block_shape, chunk_length
from stackpop.store.schema import GROUND_TRUTH, LEADER_VARIABLES
from toy_store import LEADER_SIZES, Sweep, leader_result


def test_the_size_of_a_run_is_that_of_its_variables() -> None:
    leader, _ = bytes_per_run(Sweep())
    assert leader == 9 * 4 * 4 + 8 * 4 + 4 * 5 * 2 * 4 + 5 * 2 * 4 + (4 + 2 + 8 + 8 + 1)
    assert bytes_per_run(Sweep(follower_sizes={}))[1] == 0


def test_an_extended_store_has_the_chunks_of_a_fresh_one(store: Path) -> None:
    small = {"iteration": 260, "post_iteration": 40, "state": 1, "action": 2}
    large = {"iteration": 500, "post_iteration": 64, "state": 5, "action": 3}
    few, many = Sweep(leader_sizes=small), Sweep(leader_sizes=large)
    for sweep, path in ((few, store), (many, store), (many, store.with_name("fresh.zarr"))):
        with ResultsWriter(path, sweep) as writer:
            writer.leaders.record((0, 0), leader_result(1, sweep.leader_sizes))
    files = [sum(found.is_file() for found in path.rglob("*")) for path in (store, store.with_name("fresh.zarr"))]
    assert files[0] == files[1]


@pytest.mark.parametrize("updates", [4, 50, 500, 5000])
def test_a_chunk_holds_64_runs_of_long_curves_and_more_of_short_ones(store: Path, updates: int) -> None:
    with ResultsWriter(store, Sweep(leader_sizes={**LEADER_SIZES, "iteration": updates})):
        pass
    runs = {4: 1024, 50: 512, 500: 64, 5000: 64}[updates]
    chunks = open_results(store).entropy.encoding["chunks"]
    assert np.prod(chunks) == 64 * 512
    assert np.prod(chunks[:-1]) == runs


def test_chunks_leave_room_for_usual_sizes_and_split_long_curves() -> None:
    for dim in ("iteration", "post_iteration", "follower_iteration"):
        assert [chunk_length(dim, size) for size in (0, 2, 33, 500, 5000)] == [32, 32, 64, 512, 512]
    assert [chunk_length("state", size) for size in (1, 5, 10)] == [8, 8, 16]
    assert [chunk_length("context", size) for size in (2, 32, 81)] == [32, 32, 128]


def test_the_ground_truth_is_named_in_the_schema_once() -> None:
    names = [v.name for v in (*LEADER_VARIABLES, *GROUND_TRUTH)]
    assert len(names) == len(set(names))


def test_blocks_hold_the_runs_asked_for_and_some_seeds_and_the_last_dims_first() -> None:
    assert block_shape({"matrix": 12, "seed": 5}, 64) == (8, 8)
    assert block_shape({"matrix": 12, "seed": 1}, 64) == (16, 4)
    assert block_shape({"matrix": 12, "seed": 500}, 64) == (4, 16)
    assert block_shape({"matrix": 12, "seed": 500, "leader_lr": 3}, 64) == (1, 16, 4)
    assert block_shape({"seed": 500, "matrix": 3}, 1024) == (256, 4)
    assert block_shape({"trial": 1000}, 64) == (64,)
    assert block_shape({}, 64) == ()
