"""Searches that are run, interrupted and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

from stackpop.spec import SweepSpec
from stackpop.store import Status
from stackpop.sweep import Plan, Progress, SweepOptions, Watcher, execute


class EnoughError(Exception):
    """A test has seen enough."""


class Stopper(Watcher):
    """Interrupts a sweep once so many runs are done; remembers what it is told."""

    def __init__(self, after: int = 10**9) -> None:
        self._after = after
        self.warnings: list[str] = []
        self.plans: list[Plan] = []

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        self.plans.append(plan)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def report(self, progress: Progress) -> None:
        if progress.done >= self._after:
            raise EnoughError


def run(client: Client, spec: SweepSpec, store: Path, *, runs_per_task: Any = "auto", **options: Any) -> Stopper:
    """Run a sweep to its end; returns what was told."""
    watcher = Stopper()
    execute(spec, SweepOptions(store, runs_per_task, **options), watcher, client=client)
    return watcher


def check_values_beside_results(found: xr.Dataset) -> np.ndarray:
    """No run is done without the values of its trial; returns those, the ones of the first trials."""
    values = found.leader_lr.values
    chosen = values[np.isfinite(values)]
    assert np.isfinite(values[: len(chosen)]).all()
    assert not (found.status[len(chosen) :] == Status.DONE).any()
    return chosen
