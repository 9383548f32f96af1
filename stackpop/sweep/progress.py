"""How far a sweep is, as plain numbers for whoever shows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stackpop.sweep.plan import Plan


@dataclass
class Progress:
    """Counts of one sweep; updated by the sweep, read by its reporter.

    done, failed: runs durable in the store, those of earlier sweeps included. running: runs in flight.
    env_steps: environment steps of everything trained since `started`, followers included.
    """

    plan: Plan
    done: int
    failed: int
    running: int = 0
    followers_done: int = 0
    env_steps: int = 0
    finished_now: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the sweep began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def runs_per_second(self) -> float:
        return self.finished_now / self.seconds

    @property
    def env_steps_per_second(self) -> float:
        return self.env_steps / self.seconds

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before the first run is done."""
        left = len(self.plan.pending) - self.finished_now
        return left / self.runs_per_second if self.finished_now else None


Report = Callable[[Progress], None]
