"""A sweep before and while it runs: the plan, its price, and live progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as ProgressBar

from stackpop.display.terminal import console
from stackpop.sweep import Watcher
from stackpop.wording import count, duration, size

if TYPE_CHECKING:
    from stackpop.spec import SweepSpec
    from stackpop.sweep import Plan, Progress, SweepOptions
    from stackpop.sweep.estimate import Estimate

PLAIN_SECONDS = 10.0  # between two lines of progress where no live line can be drawn


def plan_lines(plan: Plan, store: str) -> list[str]:
    """What a sweep will do."""
    axes = " × ".join(f"{len(labels):,} {dim}" for dim, labels in plan.spec.labels.items()) or "no axes"
    to_train = f"{len(plan.pending):,} to train in {count(plan.tasks, 'task')}"
    failed = f", {plan.failed:,} failed before (--retry-failed trains them again)" if plan.failed else ""
    return [
        f"{plan.spec.name}: {count(plan.spec.size, 'run')} ({axes})",
        *_search_line(plan.spec),
        f"  runs       {plan.done:,} already done, {to_train}{failed}",
        f"  followers  {plan.followers_to_train:,} to train, {plan.followers_reused:,} reused",
        f"  store      {store}",
    ]


def _search_line(spec: SweepSpec) -> list[str]:
    """How a search goes about it."""
    if spec.search is None:
        return []
    method, goal = spec.search.settings.method, spec.search.settings.objective
    pace = f", {spec.search.at_once} trials at once" if spec.search.adaptive else ""
    return [f"  search     {method} over {', '.join(spec.search.space)} for the highest {goal}{pace}"]


class SweepScreen(Watcher):
    """Shows a sweep at work: a live line on a terminal, else a line now and then."""

    def __init__(self, store: str, bar: ProgressBar | None) -> None:
        self._store, self._bar = store, bar
        self._line = bar.add_task("", total=None, text="starting") if bar else None
        self._printed = time.monotonic()

    def waiting(self, message: str) -> None:
        """There is no worker yet."""
        console.print(message)

    def warn(self, message: str) -> None:
        """Something went wrong that stops nothing."""
        console.print(f"warning: {message}")

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        """The plan, before any work."""
        for line in plan_lines(plan, self._store):
            console.print(line)
        if dashboard is not None:
            console.print(f"  dashboard  {dashboard}")

    def report(self, progress: Progress) -> None:
        """How far the sweep is."""
        if self._bar is not None and self._line is not None:
            finished, total = progress.done + progress.failed + progress.blocked, progress.plan.spec.size
            self._bar.update(self._line, total=total, completed=finished, text=progress_text(progress))
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            console.print(progress_text(progress))


def progress_text(progress: Progress) -> str:
    """Counts, rates and the time left, in one line."""
    left = progress.seconds_left
    if not progress.threads:
        end = "no worker is left: waiting for one to join"
    else:
        end = "time left unknown yet" if left is None else f"{duration(left)} left"
    blocked = f", {progress.blocked:,} blocked" if progress.blocked else ""
    return (
        f"{progress.done:,} done, {progress.in_flight:,} in flight, {progress.failed:,} failed{blocked} | "
        f"{progress.followers_done:,} followers | {progress.runs_per_second:.2f} runs/s | "
        f"{progress.env_steps_per_second:,.0f} env steps/s | {end}"
    )


@contextmanager
def sweep_screen(store: str) -> Iterator[SweepScreen]:
    """A screen for the time of a sweep."""
    if not console.is_terminal:
        yield SweepScreen(store, None)
        return
    columns = BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.fields[text]}", markup=False)
    with ProgressBar(*columns, console=console, transient=True) as bar:
        yield SweepScreen(store, bar)


def dry_run(spec: SweepSpec, options: SweepOptions, estimate: Estimate) -> None:
    """The plan with its price."""
    for line in plan_lines(estimate.plan, options.store_path(spec)):
        console.print(line)
    console.print(
        f"  estimate   {duration(estimate.seconds)} on {count(estimate.workers, 'local worker')} "
        f"and a start of seconds (a few updates timed here), at most {size(estimate.storage_bytes)} of storage"
    )
