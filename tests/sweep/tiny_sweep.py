"""The tiny sweep: its plan, its runs on a cluster, and their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from command import TINY
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.sweep import Plan, Progress, SweepOptions, Watcher, execute, make_plan

HUGE = "payoffs: {huge: [[[1.0e+308, 1.0e+308]]]}\n"


def sweep(text: str = TINY, **overrides: Any) -> SweepSpec:
    """The tiny sweep, with other settings."""
    return parse_sweep(text, "tiny", [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()])


def plan_of(spec: SweepSpec, **options: Any) -> Plan:
    """The plan for an empty store."""
    statuses = np.zeros(spec.shape, dtype=np.int8)
    followers = np.zeros([len(spec.labels[dim]) for dim in spec.follower_dims], dtype=np.int8)
    given_ = {"leaders": statuses, "followers": followers, "retry_failed": False, "runs_per_task": 1, "threads": 2}
    return make_plan(spec, **{**given_, **options})


class Recorder(Watcher):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.plans: list[tuple[Plan, str | None]] = []
        self.reports: list[tuple[int, int]] = []
        self.warnings: list[str] = []

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        self.plans.append((plan, dashboard))

    def report(self, progress: Progress) -> None:
        self.reports.append((progress.done, progress.in_flight))

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def run(client: Client, spec: SweepSpec, store: Path, **options: Any) -> Plan:
    """Run a sweep to its end; returns its plan."""
    recorder = Recorder()
    execute(spec, SweepOptions(store, **options), recorder, client=client)
    ((plan, _),) = recorder.plans
    return plan
