"""Toy sweeps and their results, and processes that are killed while they write them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status, open_results
from stackpop.store.schema import FOLLOWER_VARIABLES, LEADER_VARIABLES

GAMES = ("chicken", "prisoners_dilemma", "stag_hunt")
LEADER_SIZES = {"iteration": 4, "post_iteration": 2, "state": 5, "action": 2}
FOLLOWER_SIZES = {"iteration": 6, "context": 3, "state": 2, "action": 3, "parameter": 7}


@dataclass(frozen=True)
class Sweep:
    """The part of a sweep that the store reads."""

    labels: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: {"matrix": GAMES, "seed": (1, 2)})
    fixed: Mapping[str, Any] = field(default_factory=lambda: {"game.memory": "joint", "leader.lr": 0.008})
    leader_sizes: Mapping[str, int] = field(default_factory=lambda: LEADER_SIZES)
    follower_sizes: Mapping[str, int] = field(default_factory=lambda: FOLLOWER_SIZES)
    searched: tuple[str, ...] = ()
    name: str = "toy"
    text: str = "name: toy\n"

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.labels.values())

    @property
    def game_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.dims if dim == "matrix")

    @property
    def follower_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.dims if dim in ("matrix", "seed", "follower_oracle"))


def leader_result(seed: int, sizes: Mapping[str, int] = LEADER_SIZES, error: str = "") -> TrainingResult:
    """A result with different values in every array, as a function of `seed`."""
    rng = np.random.default_rng(seed)
    arrays = {
        variable.name: rng.normal(size=[sizes[dim] for dim in variable.dims]).astype("float32")
        for variable in LEADER_VARIABLES
    }
    arrays["env_steps"] = np.arange(1, sizes["iteration"] + 1) * (seed + 1)
    return TrainingResult(
        arrays, error, wall_seconds=1.5, started=1_700_000_000.7, finished=1_700_000_002.0, worker=f"w{seed}"
    )


def follower_result(seed: int) -> TrainingResult:
    rng = np.random.default_rng(seed)
    sizes = {"follower_iteration": 6, "context": 3, "follower_state": 2, "follower_action": 3, "follower_parameter": 7}
    arrays = {v.name: rng.normal(size=[sizes[dim] for dim in v.dims]).astype(v.dtype) for v in FOLLOWER_VARIABLES}
    arrays["updates"] = np.array(seed)
    return TrainingResult(arrays, worker="w")


def fill(path: Path | str, sweep: Sweep) -> None:
    """Record every run of a sweep with `leader_result(run number)`."""
    with ResultsWriter(path, sweep) as writer:
        for number, index in enumerate(np.ndindex(sweep.shape)):
            writer.leaders.record(index, leader_result(number))


def check_padded(found: np.ndarray, given: np.ndarray | None, fill: object) -> None:
    """`found` starts with `given` and holds nothing but the fill value elsewhere."""
    expected = np.full(found.shape, fill, found.dtype)
    if given is not None:
        expected[tuple(map(slice, given.shape))] = given
    np.testing.assert_array_equal(found, expected)


WIDE = Sweep(labels={"matrix": GAMES, "seed": tuple(range(60))})

VICTIM = """
import sys
from tests.store.toy_store import WIDE, leader_result, follower_result
import numpy as np
from stackpop.store import ResultsWriter, Status
writer = ResultsWriter(sys.argv[1], WIDE)
print("open", flush=True)
for number, index in enumerate(np.ndindex(WIDE.shape)):
    if writer.leaders.status[index] == Status.PENDING:
        writer.leaders.mark_running(index)
        writer.followers.record(index, follower_result(number))
        writer.leaders.record(index, leader_result(number))
        if number % 4 == 0:
            writer.flush()
"""


def kill_python(code: str, *args: object, seconds: float) -> None:
    """Run code in a process of its own and kill it some time after its first line of output."""
    command = [sys.executable, "-c", code, *map(str, args)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        victim.stdout.readline()
        time.sleep(seconds)
        victim.send_signal(signal.SIGKILL)


def check_intact(store: Path | str) -> int:
    """Every run reported done holds exactly what was recorded; returns how many there are."""
    leaders, followers = (open_results(store, group).load() for group in (None, "followers"))
    for ds, make, variables in (
        (leaders, leader_result, LEADER_VARIABLES),
        (followers, follower_result, FOLLOWER_VARIABLES),
    ):
        for index in np.argwhere(ds.status.values == Status.DONE):
            arrays = make(int(np.ravel_multi_index(tuple(index), WIDE.shape))).arrays
            for variable in variables:
                found = ds[variable.name].values[tuple(index)]
                np.testing.assert_array_equal(found, arrays[variable.name].astype(variable.dtype))
    return int((leaders.status == Status.DONE).sum())
