"""What the command line prints: the plan, live progress, and tables. All numbers come from elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from stackpop.errors import SpecError, explain
from stackpop.store import Status
from stackpop.sweep import Watcher

if TYPE_CHECKING:
    import xarray as xr

    from stackpop.games import Game
    from stackpop.spec import SweepSpec
    from stackpop.store import Progress as StoreProgress
    from stackpop.sweep import Plan, Progress, SweepOptions
    from stackpop.sweep.estimate import Estimate

MOST_ROWS = 60
HUGE = 1e9  # from here on numbers are printed with an exponent
MOST_FAILURES = 10
MOST_WIDTH = 1000
STATUS_WORDS = {
    Status.PENDING: "pending",
    Status.RUNNING: "in flight",
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.BLOCKED: "blocked",
}
PLAIN_SECONDS = 10.0  # between two lines of progress where no live line can be drawn

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


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


def plan_lines(plan: Plan, store: str) -> list[str]:
    """What a sweep will do."""
    axes = " × ".join(f"{len(labels):,} {dim}" for dim, labels in plan.spec.labels.items()) or "no axes"
    to_train = f"{len(plan.pending):,} to train in {_count(plan.tasks, 'task')}"
    failed = f", {plan.failed:,} failed before (--retry-failed trains them again)" if plan.failed else ""
    return [
        f"{plan.spec.name}: {_count(plan.spec.size, 'run')} ({axes})",
        f"  runs       {plan.done:,} already done, {to_train}{failed}",
        f"  followers  {plan.followers_to_train:,} to train, {plan.followers_reused:,} reused",
        f"  store      {store}",
    ]


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
        end = "time left unknown yet" if left is None else f"{_duration(left)} left"
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
        f"  estimate   {_duration(estimate.seconds)} on {_count(estimate.workers, 'local worker')} "
        f"and a start of seconds (a few updates timed here), at most {_bytes(estimate.storage_bytes)} of storage"
    )


def results(spec: SweepSpec, store: str) -> None:
    """How close the leaders came, one row for each setting other than the seed, and what failed."""
    from stackpop.analysis import TOLERANCE, WINDOW, summary
    from stackpop.store import open_results, read_progress

    dims = [dim for dim in spec.dims if dim != "seed"]
    total = math.prod(len(spec.labels[dim]) for dim in dims)
    shown = min(total, MOST_ROWS)
    rows = summary(open_results(store).pipe(_of_sweep, spec).isel(_leading(spec, dims, shown)))
    stacked = rows.stack(row=dims) if dims else rows.expand_dims("row")
    updates = min(WINDOW, spec.leader_sizes["iteration"])
    table = _table(f"{spec.name}: mean over the last {updates} updates, 95 % bootstrap interval over seeds", *dims)
    for name in ("equilibrium", "leader\nreturn", "interval", "gap", "greedy\nreturn", "converged", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    for i in range(shown):
        table.add_row(*_row(stacked.isel(row=i), dims))
    _print_table(table)
    if total > shown:
        console.print(f"({total - shown:,} more rows: see the store)")
    console.print(
        f"converged: final gap at most {TOLERANCE:.0%} of the span of returns, nothing above the protocol's optimum"
    )
    console.print(f"results in {store}")
    _failures(read_progress(store))


def _of_sweep(found: xr.Dataset, spec: SweepSpec) -> xr.Dataset:
    """The runs of a sweep in its order, of a store that may hold more; by position, for a list of truths is a mask."""
    return found.isel({dim: found.indexes[dim].get_indexer(list(labels)) for dim, labels in spec.labels.items()})


def _leading(spec: SweepSpec, dims: Sequence[str], rows: int) -> dict[str, slice]:
    """The smallest part of the grid of `dims` that holds its first `rows` rows, the last dim being the fastest."""
    part = {}
    for dim in reversed(dims):
        part[dim] = slice(rows)
        rows = math.ceil(rows / len(spec.labels[dim]))
    return part


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _print_table(table: Table) -> None:
    """A table as wide as it needs: a cut number is worse than a long line."""
    needed = console.measure(table, options=console.options.update(width=MOST_WIDTH)).maximum
    Console(width=needed, highlight=False, markup=False, emoji=False).print(table)


def _row(row: xr.Dataset, dims: list[str]) -> list[str]:
    def number(name: str) -> str:
        return _number(float(row[name]), 2)

    return [
        *(str(row[dim].item()) for dim in dims),
        number("equilibrium"),
        number("leader_return"),
        f"[{number('low')}, {number('high')}]",
        number("gap"),
        number("greedy_return"),
        "-" if math.isnan(row.equilibrium) else f"{int(row.converged)}/{int(row.runs)}",
        f"{int(row.done)}/{int(row.runs)}",
    ]


def _number(value: float, decimals: int) -> str:
    """A number of few digits, whatever its size; a dash for what is unknown."""
    if math.isnan(value):
        return "-"
    return f"{value:.{decimals}f}" if abs(value) < HUGE else f"{value:.{decimals}e}"


def _failures(progress: StoreProgress) -> None:
    failures = progress.leaders.failures
    for failure in failures[:MOST_FAILURES]:
        where = ", ".join(f"{dim}={label}" for dim, label in failure.labels.items())
        console.print(f"{STATUS_WORDS[failure.status]}: {where}: {failure.error}")
    if len(failures) > MOST_FAILURES:
        console.print(f"({len(failures) - MOST_FAILURES:,} more: see `status` and `error` in the store)")


def status(store: str, progress: StoreProgress) -> None:
    """How far a sweep is, from its store."""
    console.print(f"{progress.name}: {store}")
    for name, group in (("runs", progress.leaders), ("followers", progress.followers)):
        if group is not None:
            axes = " × ".join(f"{size:,} {dim}" for dim, size in group.sizes.items()) or "no axes"
            counts = ", ".join(f"{count:,} {STATUS_WORDS[kind]}" for kind, count in group.counts.items())
            console.print(f"  {name:<10} {counts} of {group.total:,} ({axes})")
    console.print(f"  writing    {_writer(progress)}")
    _failures(progress)


def _writer(progress: StoreProgress) -> str:
    if progress.writer is not None:
        return str(progress.writer)
    finished = not progress.leaders.counts[Status.PENDING]
    return "nobody" if finished else "nobody: `stackpop sweep` with its file resumes it"


def solution(name: str, game: Game) -> None:
    """All exact values of a game and an optimal commitment.

    Raises:
        SpecError: the game's returns overflow.
    """
    from stackpop.equilibria import best_responses, ground_truth, pure_commitment

    truth = ground_truth(game)
    if math.isnan(truth.pure):
        expected, got = "numbers whose sum over an episode is a finite number", f"an overflow in {game.rounds} rounds"
        raise SpecError(explain("payoffs", expected=expected, got=got, remedy="divide all of them by a large number"))
    pure = pure_commitment(game, best_responses(game))
    title = f"{name}: {game.memory} memory, {_count(game.rounds, 'round')}, offset {game.reward_offset:g}"
    table = _table(title, "leader's return at")
    for column in ("value", "without offset"):
        table.add_column(column, justify="right")
    meanings = {
        "pure": "pure equilibrium, ties for the leader",
        "pure_pessimistic": "pure equilibrium, ties against the leader",
        "mixed": "mixed commitment (one-shot games)",
        "resample": "optimum of the resampling protocol (at least)",
        "behavioural": "behavioural commitment (at least)",
    }
    values: dict[str, float] = asdict(truth)
    for key, meaning in meanings.items():
        if not math.isnan(values[key]):
            without = values[key] - game.rounds * game.reward_offset
            table.add_row(meaning, _number(values[key], 4), _number(without, 4))
    _print_table(table)
    console.print("optimal pure commitment and the follower's best response: the action in each state of memory")
    console.print(f"  leader     {_actions(pure.leader_table, game, game.columns)}")
    console.print(f"  follower   {_actions(pure.follower_table, game, game.rows)}")


def _actions(table: Sequence[int], game: Game, others: int) -> str:
    """A deterministic table, with the states named by the actions they remember (leader's first)."""
    joint = [f"({a},{b})" for b in range(game.columns) for a in range(game.rows)]
    remembered = {"none": [], "opponent": [str(action) for action in range(others)], "joint": joint}[game.memory]
    states = ["always"] if game.memory == "none" else ["start", *remembered]
    return "  ".join(f"{state}: {action}" for state, action in zip(states, table, strict=True))


def games() -> None:
    """The named games."""
    from stackpop.games import CANONICAL, MATRICES

    table = _table("payoffs of one round: leader, follower; row is the leader's action", "game", "payoffs", "canonical")
    table.show_lines = True
    for name, payoffs in MATRICES.items():
        rows = "\n".join("   ".join(f"{a:g}, {b:g}" for a, b in row) for row in payoffs)
        table.add_row(name, rows, "yes" if name in CANONICAL else "")
    _print_table(table)
