"""`python -m tests.benchmarks.scale SCHEDULER_FILE THREADS SECONDS`: workers in one process, whose training sleeps.

The scheduler, the client and the store are real, and so is all that workers do but training: they hear of tasks, tell
that they start, and send results of the usual shape back.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import numpy as np
import psutil
from distributed import Client, Worker

import stackpop.training
from stackpop.results import TrainingResult
from stackpop.spec import RunSpec
from stackpop.store import Status, read_progress
from tests.command import scheduler, started, until

EACH = 10  # threads of a worker: a thousand workers in one process have no time left for their tasks
SAMPLE_SECONDS = 0.5
train_leaders = stackpop.training.train_leaders


@dataclass(frozen=True)
class Simulated:
    """How a sweep of sleeping runs went.

    runs, wall: how many ended, in how many seconds. pause: seconds of the longest time in which no run was done,
    between the first and the last that were. client, scheduler: bytes resident, in the second and the last third.
    """

    runs: int
    wall: float
    pause: float
    client: tuple[int, int]
    scheduler: tuple[int, int]


def simulate(sweep: Path, runs: int, threads: int, seconds: float, *options: str) -> Simulated:
    """Run a sweep on so many threads of simulated workers, each of whose trainings takes some seconds."""
    folder = sweep.parent
    store = folder / f"simulated{runs}.zarr"
    serve = [sys.executable, "-m", "tests.benchmarks.scale"]
    samples: list[tuple[float, int, int, int]] = []  # (when, runs done, bytes of the client, of the scheduler)
    with ExitStack() as stack:
        file, process = stack.enter_context(scheduler(folder))
        stack.enter_context(started(*serve, file, threads, seconds, stderr=subprocess.DEVNULL))
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(threads // EACH, timeout=600)
        words = [sys.executable, "-m", "stackpop", "sweep", sweep, "--store", store, "--quiet"]
        begun = time.monotonic()
        command = stack.enter_context(started(*words, "--scheduler-file", file, *options))
        until(store.exists)
        both = [psutil.Process(each.pid) for each in (command, process)]
        while command.poll() is None:
            done = read_progress(store).leaders.counts[Status.DONE]
            samples.append((time.monotonic(), done, *(each.memory_info().rss for each in both)))
            time.sleep(SAMPLE_SECONDS)
        wall = time.monotonic() - begun
    if command.returncode:
        raise RuntimeError(f"the sweep ended with {command.returncode}")
    third = len(samples) // 3
    thirds = [samples[third : 2 * third], samples[2 * third :]]
    client, held = ([int(np.median([each[k] for each in part])) for part in thirds] for k in (2, 3))
    return Simulated(runs, wall, _longest_pause(samples), (client[0], client[1]), (held[0], held[1]))


def _longest_pause(samples: Sequence[tuple[float, int, int, int]]) -> float:
    times = [now for (now, done, *_), (_, before, *_) in zip(samples[1:], samples, strict=False) if done > before]
    return max(np.diff(times), default=0.0)


class Sleep:
    """Stands in for `train_leaders`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._arrays: Mapping[str, np.ndarray] = {}

    def __call__(self, specs: Sequence[RunSpec], *_: Any, **__: Any) -> list[TrainingResult]:
        """Sleep, and hand back what one training made once."""
        if not self._arrays:
            self._arrays = train_leaders(specs[:1], {})[0].arrays
        begun = time.time()
        time.sleep(self._seconds)
        result = TrainingResult(dict(self._arrays), wall_seconds=self._seconds / len(specs), started=begun)
        return [dataclasses.replace(result, finished=time.time()) for _ in specs]


async def serve(address: str, threads: int, folder: str) -> None:
    """Workers with so many threads together, until the scheduler goes."""
    async with AsyncExitStack() as stack:
        made = [
            Worker(address, nthreads=EACH, memory_limit=0, dashboard=False, local_directory=folder, name=f"w{k}")
            for k in range(threads // EACH)
        ]
        found = await asyncio.gather(*map(stack.enter_async_context, made))
        await asyncio.gather(*(worker.finished() for worker in found))


if __name__ == "__main__":
    # What each worker does of itself many times a second would take all the time of a process that has a thousand.
    idle = {"admin.tick.interval": "10s", "admin.system-monitor.interval": "60s", "worker.profile.enabled": False}
    dask.config.set({f"distributed.{key}": value for key, value in idle.items()})
    stackpop.training.train_leaders = Sleep(float(sys.argv[3]))
    with TemporaryDirectory() as scratch:
        address = json.loads(Path(sys.argv[1]).read_text())["address"]
        asyncio.run(serve(address, int(sys.argv[2]), scratch))
