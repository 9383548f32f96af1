"""What the command line prints: the plan, live progress, and tables. All numbers come from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

    from stackpop.games import Game
    from stackpop.spec import SweepSpec
    from stackpop.store import Progress as StoreProgress
    from stackpop.sweep import Plan, Progress, SweepOptions
    from stackpop.sweep.estimate import Estimate

MOST_ROWS = 60
MOST_FAILURES = 10
PLAIN_SECONDS = 10.0  # between two lines of progress where no live line can be drawn

console = Console(highlight=False, soft_wrap=True)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def plan_lines(plan: Plan, store: Path) -> list[str]:
    """What a sweep will do."""
    spec = plan.spec
    axes = " × ".join(f"{len(labels)} {dim}" for dim, labels in spec.labels.items()) or "no axes"
    to_train = f"{len(plan.pending):,} to train in {_count(plan.tasks, 'task')}"
    lines = [
        f"{spec.name}: {_count(spec.size, 'run')} ({axes})",
        f"  runs       {plan.done:,} already done, {to_train}"
        + (f", {plan.failed:,} failed before (--retry-failed trains them again)" if plan.failed else ""),
        f"  followers  {plan.followers_to_train:,} to train, {plan.followers_reused:,} reused",
        f"  store      {store}",
    ]
    return lines


class SweepScreen:
    """Shows a sweep at work; a silent one shows nothing."""

    def __init__(self, store: Path, bar: ProgressBar | None, *, quiet: bool) -> None:
        self._store, self._bar, self._quiet = store, bar, quiet
        self._line = bar.add_task("", total=None, text="starting a cluster") if bar else None
        self._printed = time.monotonic()

    def announce(self, plan: Plan, client: Client | None) -> None:
        """The plan, before any work."""
        if self._quiet:
            return
        for line in plan_lines(plan, self._store):
            console.print(line, markup=False)
        if client is not None:
            console.print(f"  dashboard  {client.dashboard_link}", markup=False)

    def report(self, progress: Progress) -> None:
        """Where it is: a live line on a terminal, else a line now and then."""
        if self._bar is not None and self._line is not None:
            total = progress.plan.spec.size
            self._bar.update(
                self._line, total=total, completed=progress.done + progress.failed, text=progress_text(progress)
            )
        elif not self._quiet and time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            console.print(progress_text(progress), markup=False)


def progress_text(progress: Progress) -> str:
    """Counts, rates and the time left, in one line."""
    left = progress.seconds_left
    return (
        f"{progress.done:,} done, {progress.running:,} running, {progress.failed:,} failed | "
        f"{progress.followers_done:,} followers | {progress.runs_per_second:.2f} runs/s | "
        f"{progress.env_steps_per_second:,.0f} env steps/s | "
        + (f"{_duration(left)} left" if left is not None else "time left unknown yet")
    )


@contextmanager
def sweep_screen(store: Path, *, quiet: bool) -> Iterator[SweepScreen]:
    """A screen for the time of a sweep."""
    if quiet or not console.is_terminal:
        yield SweepScreen(store, None, quiet=quiet)
        return
    columns = BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.fields[text]}", markup=False)
    with ProgressBar(*columns, console=console, transient=True) as bar:
        yield SweepScreen(store, bar, quiet=quiet)


def dry_run(spec: SweepSpec, options: SweepOptions, estimate: Estimate) -> None:
    """The plan with its price."""
    for line in plan_lines(estimate.plan, options.store_path(spec)):
        console.print(line, markup=False)
    console.print(
        f"  estimate   {_duration(estimate.seconds)} on {_count(estimate.workers, 'local worker')} "
        f"(from a few updates timed here), at most {_bytes(estimate.storage_bytes)} of storage",
        markup=False,
    )


def results(spec: SweepSpec, store: Path) -> None:
    """How close the leaders came, one row for each setting other than the seed, and what failed."""
    from stackpop.analysis import TOLERANCE, WINDOW, summary
    from stackpop.store import open_results, read_progress

    found = open_results(store)
    rows = summary(found.sel({dim: list(labels) for dim, labels in spec.labels.items()}))
    dims = [str(dim) for dim in rows.done.dims]
    table = Table(title=f"{spec.name}: mean over the last {WINDOW} updates, 95 % bootstrap interval over seeds")
    for name in dims:
        table.add_column(name)
    for name in ("equilibrium", "leader return", "interval", "gap", "greedy return", "converged", "done"):
        table.add_column(name, justify="right")
    stacked = rows.stack(row=dims) if dims else rows.expand_dims("row")
    for i in range(min(stacked.sizes["row"], MOST_ROWS)):
        table.add_row(*_row(stacked.isel(row=i), dims))
    console.print(table)
    if stacked.sizes["row"] > MOST_ROWS:
        console.print(f"({stacked.sizes['row'] - MOST_ROWS:,} more rows: see the store)")
    console.print(f"converged: final gap at most {TOLERANCE:.0%} of the span of returns; results in {store}", markup=False)
    _failures(read_progress(store))


def _row(row: xr.Dataset, dims: list[str]) -> list[str]:
    def number(name: str) -> str:
        value = float(row[name])
        return "-" if value != value else f"{value:.2f}"

    return [
        *(str(row[dim].item()) for dim in dims),
        number("equilibrium"),
        number("leader_return"),
        f"[{number('low')}, {number('high')}]",
        number("gap"),
        number("greedy_return"),
        f"{int(row.converged)}/{int(row.runs)}",
        f"{int(row.done)}/{int(row.runs)}",
    ]


def _failures(progress: StoreProgress) -> None:
    failures = progress.leaders.failures
    for failure in failures[:MOST_FAILURES]:
        where = ", ".join(f"{dim}={label}" for dim, label in failure.labels.items())
        console.print(f"failed: {where}: {failure.error}", markup=False)
    if len(failures) > MOST_FAILURES:
        console.print(f"({len(failures) - MOST_FAILURES:,} more failed: see `error` in the store)")


def status(store: Path, progress: StoreProgress) -> None:
    """How far a sweep is, from its store."""
    console.print(f"{progress.name}: {store}", markup=False)
    for name, group in (("runs", progress.leaders), ("followers", progress.followers)):
        if group is not None:
            axes = " × ".join(f"{size} {dim}" for dim, size in group.sizes.items())
            counts = ", ".join(f"{count:,} {kind.name.lower()}" for kind, count in group.counts.items())
            console.print(f"  {name:<10} {counts} of {group.total:,} ({axes})", markup=False)
    writer = "nobody: `stackpop sweep` resumes it" if progress.writer is None else str(progress.writer)
    console.print(f"  writing    {writer}", markup=False)
    _failures(progress)


def solution(name: str, game: Game) -> None:
    """All exact values of a game and an optimal commitment."""
    from stackpop.equilibria import best_responses, ground_truth, pure_commitment

    truth, pure = ground_truth(game), pure_commitment(game, best_responses(game))
    table = Table(title=f"{name}: {game.memory} memory, {game.rounds} rounds, offset {game.reward_offset:g}")
    table.add_column("leader's return at")
    table.add_column("value", justify="right")
    table.add_column("without offset", justify="right")
    meanings = {
        "pure": "pure equilibrium, ties for the leader",
        "pure_pessimistic": "pure equilibrium, ties against the leader",
        "mixed": "mixed commitment (one-shot games)",
        "resample": "optimum of the resampling protocol (at least)",
        "behavioural": "behavioural commitment (at least)",
    }
    values: dict[str, Any] = asdict(truth)
    for key, meaning in meanings.items():
        if values[key] == values[key]:
            table.add_row(meaning, f"{values[key]:.4f}", f"{values[key] - game.rounds * game.reward_offset:.4f}")
    console.print(table)
    console.print(f"optimal leader table    {pure.leader_table}")
    console.print(f"follower's best response {pure.follower_table}")


def games() -> None:
    """The named games."""
    from stackpop.games import CANONICAL, MATRICES

    table = Table(title="payoffs of one round: leader, follower; row is the leader's action", show_lines=True)
    for column in ("game", "payoffs", "canonical"):
        table.add_column(column)
    for name, payoffs in MATRICES.items():
        rows = "\n".join("   ".join(f"{a:g}, {b:g}" for a, b in row) for row in payoffs)
        table.add_row(name, rows, "yes" if name in CANONICAL else "")
    console.print(table)
