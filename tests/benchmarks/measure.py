"""What something costs: processor time, which neighbours on a shared machine disturb least, beside the time it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

CALIBRATION_ROUNDS = 50_000
CORES = sorted(os.sched_getaffinity(0))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True)
class Cost:
    """cpu, wall: seconds; peak: bytes resident of the largest process; told: what the program printed as JSON."""

    cpu: float
    wall: float
    peak: int = 0
    told: dict[str, Any] = field(default_factory=dict)


def calibrate() -> float:
    """Processor seconds of a fixed number of small tensor operations, the kind of work that training does."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.full((600,), 0.5, dtype=torch.float64), torch.full((600,), 1e-6, dtype=torch.float64)
    started = time.process_time()
    for _ in range(CALIBRATION_ROUNDS):
        torch.exp(x, out=x).mul_(y).sub_(y).abs_()
    return time.process_time() - started


def program(arguments: Sequence[str], *, core: int | None = None, cwd: str | None = None) -> Cost:
    """Run a Python program to its end: it with its children, of which it waits for each.

    core: the only one that it may use; None for all.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=cwd,
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    assert process.stdout is not None
    out = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    last = out.strip().rpartition("\n")[2]
    told = json.loads(last) if last.startswith("{") else {}
    return Cost(usage.ru_utime + usage.ru_stime, wall, 1024 * usage.ru_maxrss, told)


def work(*arguments: object, core: int | None = None) -> Cost:
    """Run one of the works of `tests.benchmarks.work` on one core, the last unless told."""
    chosen = CORES[-1] if core is None else core
    return program([sys.executable, "-m", "tests.benchmarks.work", *map(str, arguments)], core=chosen)


def side_by_side(measure: Callable[[int], Cost], count: int) -> list[Cost]:
    """The costs of so many at the same time, each of which gets a core of its own."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(measure, CORES[:count]))


def stackpop(*arguments: object) -> Cost:
    """Run a stackpop command."""
    return program([sys.executable, "-m", "stackpop", *map(str, arguments)])


def watched(done: Callable[[], float], *arguments: object) -> tuple[Cost, list[tuple[float, int]]]:
    """Run a stackpop command, and weigh its own process meanwhile: (what is `done` of it, bytes resident)."""
    weights: list[tuple[float, int]] = []
    me, ended = psutil.Process(), threading.Event()
    before = {child.pid for child in me.children()}

    def weigh() -> None:
        while not ended.wait(0.5):
            for child in me.children():
                if child.pid not in before:
                    try:
                        weights.append((done(), child.memory_info().rss))
                    except psutil.NoSuchProcess:
                        continue

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        return stackpop(*arguments), weights
    finally:
        ended.set()
        thread.join()


def alternately(times: int, *measures: Callable[[], Cost]) -> list[Cost]:
    """The cheapest of several of each, one after the other in turn, so that all meet the same neighbours."""
    found = [[measure() for measure in measures] for _ in range(times)]
    return [min(costs, key=lambda cost: cost.cpu) for costs in zip(*found, strict=True)]
