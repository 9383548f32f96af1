"""Memory of the client, which holds the scheduler too, does not grow with the number of finished runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest

from command import ENVIRONMENT, started, until
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter, Status, read_progress

SWEEP = """\
game: {memory: none, rounds: 2}
leader: {algorithm: pg, updates: 2, batch_steps: 6}
follower: {oracle: exact}
evaluation_episodes: 1
axes:
  matrix: [chicken, battle, harmony, hero]
"""
MOST_GROWTH = 1500  # bytes a run; what one leader's spec weighs in Python is 3,000
MOST_MORE = 60e6  # bytes for the table of ten times the runs; their curves alone are 72 MB, and copies many times that
# glibc has an arena for each thread, and takes long until none grows; with one, only what is kept can grow.
ONE_ARENA = ("env", "MALLOC_ARENA_MAX=1")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("runs_per_task", "runs"), [(1, 10_000), ("auto", 60_000)])
def test_memory_does_not_grow_with_finished_runs(tmp_path: Path, runs_per_task: int | str, runs: int) -> None:
    (tmp_path / "lean.yaml").write_text(f"{SWEEP}  seed: {list(range(runs // 4))}\n")
    store, begun = tmp_path / "lean.zarr", time.monotonic()
    options = ["--store", store, "--workers", 2, "--runs-per-task", runs_per_task, "--quiet"]
    weights: list[int] = []  # resident bytes, from the first finished run to the last
    with started(*ONE_ARENA, sys.executable, "-m", "stackpop", "sweep", "lean.yaml", *options, cwd=tmp_path) as sweep:
        client = psutil.Process(sweep.pid)
        until(store.exists)
        while sweep.poll() is None:
            done = read_progress(store).leaders.counts[Status.DONE]
            if 0 < done < runs:
                weights.append(client.memory_info().rss)
            time.sleep(0.2)
        assert sweep.returncode == 0
    # By time and not by runs: results are flushed in large parts, and a part of the runs may never be seen as the last.
    third, speed = len(weights) // 3, runs / (time.monotonic() - begun)
    assert third >= 5, "too few samples"
    early, late = median(weights[third : 2 * third]), median(weights[2 * third :])
    print(f"\n{early / 1e6:.0f} MB in the second third, {late / 1e6:.0f} MB in the last, {speed:.0f} runs/s")
    assert late - early < MOST_GROWTH * runs / 3


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
