"""Memory of the client, which holds the scheduler too, does not grow with the number of finished runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from command import ENVIRONMENT
from stackpop.cluster import ClusterOptions
from stackpop.results import TrainingResult
from stackpop.spec import load_sweep, parse_sweep
from stackpop.store import ResultsWriter
from stackpop.sweep import Progress, SweepOptions, Watcher, execute

RUNS = 10_000
SWEEP = """\
game: {memory: none, rounds: 2}
leader: {algorithm: pg, updates: 2, batch_steps: 6}
follower: {oracle: exact}
evaluation_episodes: 1
axes:
  matrix: [chicken, battle, harmony, hero]
"""
MOST_GROWTH = 40e6  # bytes from 50 % to the end; a scheduler that kept 5,000 tasks at 12 kB each would need 60e6
MOST_MORE = 60e6  # bytes for the table of ten times the runs; their curves alone are 72 MB, and copies many times that


class Scale(Watcher):
    """Weighs this process as the sweep goes on."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.weights: list[tuple[float, int]] = []  # (part of the runs that is done, resident bytes)

    def report(self, progress: Progress) -> None:
        """One more weight."""
        self.weights.append((progress.done / RUNS, self._process.memory_info().rss))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runs_per_task", [1, "auto"])
def test_memory_does_not_grow_with_finished_runs(tmp_path: Path, runs_per_task: int) -> None:
    file = tmp_path / "lean.yaml"
    file.write_text(f"{SWEEP}  seed: {list(range(RUNS // 4))}\n")
    spec, scale, begun = load_sweep(file), Scale(), time.monotonic()
    options = SweepOptions(tmp_path / "lean.zarr", runs_per_task, cluster=ClusterOptions(workers=2))
    progress = execute(spec, options, scale)
    assert progress.done == RUNS
    early = max(weight for part, weight in scale.weights if part <= 0.5)
    late = max(weight for part, weight in scale.weights if part > 0.5)
    speed = RUNS / (time.monotonic() - begun)
    print(f"\n{early / 1e6:.0f} MB up to 50 %, {late / 1e6:.0f} MB at most, {speed:.0f} runs/s")
    assert late - early < MOST_GROWTH


LONG = SWEEP.replace("updates: 2", "updates: 500")


@pytest.mark.slow
def test_memory_of_the_table_does_not_grow_with_the_length_of_curves(tmp_path: Path) -> None:
    few, many = (f"{LONG}  seed: {list(range(seeds))}\n" for seeds in (300, 3000))
    spec = parse_sweep(many, "long")
    names = ("leader_return", "leader_return_greedy", "equilibrium_gap")
    with ResultsWriter(tmp_path / "long.zarr", spec) as writer:
        for matrix in range(spec.shape[0]):
            writer.record_ground_truth((matrix,), {"equilibrium_pure": 0.0})
        for index in spec.indices():
            curve = np.full(500, index[1], dtype=np.float32)
            writer.leaders.record(index, TrainingResult(dict.fromkeys(names, curve)))
            writer.maybe_flush()
    peaks = []
    for text in (few, many):
        (tmp_path / "long.yaml").write_text(text)
        peaks.append(_peak_memory(tmp_path, "long.yaml", "--store", "long.zarr", "--scheduler", "nobody"))
    print(f"\n{peaks[0] / 1e6:.0f} MB for 1,200 runs, {peaks[1] / 1e6:.0f} MB for 12,000")
    assert peaks[1] - peaks[0] < MOST_MORE


def _peak_memory(folder: Path, *arguments: str) -> int:
    """The most bytes that `stackpop sweep` of a finished sweep held."""
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "stackpop", "sweep", *arguments], cwd=folder, env=ENVIRONMENT, stdout=out
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return 1024 * usage.ru_maxrss
