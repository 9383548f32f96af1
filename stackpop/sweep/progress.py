"""How far a sweep is, as plain numbers, and who is told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from stackpop.sweep.plan import Plan


@dataclass
class Progress:
    """Counts of one sweep; updated by the sweep, read by its watcher.

    done, failed: runs durable in the store, those of earlier sweeps included. blocked: runs that this sweep did
    not start. in_flight: runs that train, and the few that wait on the cluster for a thread or for their followers.
    threads: worker threads there are. env_steps: environment steps of everything trained since `started`,
    followers included.
    """

    plan: Plan
    done: int
    failed: int
    blocked: int = 0
    in_flight: int = 0
    threads: int = 0
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
        """Runs finished per second since the sweep began."""
        return self.finished_now / self.seconds

    @property
    def env_steps_per_second(self) -> float:
        """Environment steps per second since the sweep began."""
        return self.env_steps / self.seconds

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before the first run is done."""
        left = len(self.plan.pending) - self.finished_now
        return left / self.runs_per_second if self.finished_now else None


class Watcher:
    """Is told how a sweep goes, in the thread that runs it. This one does not care; subclasses show it."""

    def waiting(self, message: str) -> None:
        """There is no worker yet."""

    def warn(self, message: str) -> None:
        """Something went wrong that stops nothing."""

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        """The plan, once, before any work; `dashboard` is its address, if there is one."""

    def report(self, progress: Progress) -> None:
        """The progress, several times a second."""
