"""Memory of the client, which holds the scheduler too, does not grow with the number of finished runs."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from stackpop.cluster import ClusterOptions
from stackpop.spec import load_sweep
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
MOST_GROWTH = 25e6  # bytes from 30 % to the end; 10,000 runs kept whole would take several times that


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
    scale, begun = Scale(), time.monotonic()
    options = SweepOptions(tmp_path / "lean.zarr", runs_per_task, cluster=ClusterOptions(workers=2))
    progress = execute(load_sweep(file), options, scale)
    assert progress.done == RUNS
    early = max(weight for part, weight in scale.weights if part <= 0.3)
    late = max(weight for part, weight in scale.weights if part > 0.3)
    speed = RUNS / (time.monotonic() - begun)
    print(f"\n{early / 1e6:.0f} MB up to 30 %, {late / 1e6:.0f} MB at most, {speed:.0f} runs/s")
    assert late - early < MOST_GROWTH
