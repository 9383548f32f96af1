"""A sweep in its end or in between: tables of results, claims and status."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stackpop.display.terminal import console, make_table, print_table
from stackpop.store import Status
from stackpop.wording import MOST_ROWS, STATUS_WORDS, interval, leading, number

if TYPE_CHECKING:
    import xarray as xr

    from stackpop.analysis import Findings, Outcome
    from stackpop.spec import SweepSpec
    from stackpop.spec.search import SearchSpec
    from stackpop.store import Progress as StoreProgress

MOST_FAILURES = 10
CLAIM_WIDTH = 60


def results(spec: SweepSpec, store: str) -> None:
    """How close the leaders came, one row for each setting other than the seed, and what failed."""
    from stackpop.analysis import check_claims, open_sweep
    from stackpop.store import read_progress

    found = open_sweep(store, spec)
    if spec.search is None:
        _rows(spec, found)
    else:
        _trials(spec, spec.search, found)
    if spec.claims:
        print_claims(spec.name, check_claims(found, spec.claims, spec.search))
    console.print(f"results in {store}")
    print_failures(read_progress(store))


def _rows(spec: SweepSpec, found: xr.Dataset) -> None:
    """The table of a grid."""
    from stackpop.analysis import TOLERANCE, WINDOW, summary

    dims = [dim for dim in spec.dims if dim != "seed"]
    total = math.prod(len(spec.labels[dim]) for dim in dims)
    shown = min(total, MOST_ROWS)
    rows = summary(found.isel(leading({dim: len(spec.labels[dim]) for dim in dims}, shown)))
    stacked = rows.stack(row=dims) if dims else rows.expand_dims("row")
    updates = min(WINDOW, spec.leader_sizes["iteration"])
    table = make_table(f"{spec.name}: mean over the last {updates} updates, 95 % bootstrap interval over seeds", *dims)
    for name in ("equilibrium", "leader\nreturn", "interval", "gap", "greedy\nreturn", "converged", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    for i in range(shown):
        table.add_row(*_row(stacked.isel(row=i), dims))
    print_table(table)
    if total > shown:
        console.print(f"({total - shown:,} more rows: see the store)")
    console.print(
        f"converged: final gap at most {TOLERANCE:.0%} of the span of returns, nothing above the protocol's optimum"
    )


def _row(row: xr.Dataset, dims: list[str]) -> list[str]:
    def value(name: str) -> str:
        return number(float(row[name]))

    return [
        *(str(row[dim].item()) for dim in dims),
        value("equilibrium"),
        value("leader_return"),
        f"[{value('low')}, {value('high')}]",
        value("gap"),
        value("greedy_return"),
        "-" if math.isnan(row.equilibrium) else f"{int(row.converged)}/{int(row.runs)}",
        f"{int(row.done)}/{int(row.runs)}",
    ]


def _trials(spec: SweepSpec, search: SearchSpec, found: xr.Dataset) -> None:
    """The table of a search, the best trials first."""
    from stackpop.analysis import best_trials

    objective, updates = search.settings.objective, min(search.settings.window, spec.leader_sizes["iteration"])
    rows = best_trials(found, objective, search.settings.window)
    table = make_table(f"{spec.name}: trials, the best first", "trial")
    for name in (*spec.searched, "objective", "interval", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    for i in range(min(rows.sizes["trial"], MOST_ROWS)):
        row = rows.isel(trial=i)
        tried = [f"{float(row[name]):.4g}" for name in spec.searched]
        done = f"{int(row.done)}/{int(row.runs)}"
        table.add_row(
            str(row.trial.item()),
            *tried,
            number(float(row.objective), 2),
            interval(float(row.low), float(row.high)),
            done,
        )
    print_table(table)
    if rows.sizes["trial"] > MOST_ROWS:
        console.print(f"({rows.sizes['trial'] - MOST_ROWS:,} more trials: see the store)")
    over = "".join(f", {dim}" for dim in spec.dims if dim != "trial")
    goal = f"objective: mean of {objective} over the last {updates} updates{over}"
    console.print(f"{goal}; interval: 95 % bootstrap over seeds")


def claims(findings: Sequence[Findings]) -> None:
    """What each sweep was made to show, and whether it does."""
    for found in findings:
        if found.outcomes:
            print_claims(found.spec.name, found.outcomes)
        else:
            console.print(f"{found.spec.name}: no claims; a sweep file lists them under `claims:`")


def print_claims(name: str, outcomes: Sequence[Outcome]) -> None:
    """The outcomes of one sweep's claims."""
    table = make_table(f"{name}: claims, 95 % bootstrap interval over seeds")
    table.add_column("claim", max_width=CLAIM_WIDTH)
    for title in ("left", "right", "difference", "interval", "pairs"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for found in outcomes:
        numbers = (number(value) for value in (found.left, found.right, found.difference))
        note = f"\n({found.claim.note})" if found.claim.note else ""
        reason = f": {found.reason}" if found.reason else ""
        bounds, pairs = interval(found.low, found.high), f"{found.pairs:,}/{found.pairs + found.missing:,}"
        table.add_row(f"{found.claim.text}{note}", *numbers, bounds, pairs, f"{found.status}{reason}")
    print_table(table)


def status(store: str, progress: StoreProgress, unfinished: int = 0) -> None:
    """How far a sweep is, from its store; unfinished: runs that go on from the middle."""
    console.print(f"{progress.name}: {store}")
    for name, group in (("runs", progress.leaders), ("followers", progress.followers)):
        if group is not None:
            axes = " × ".join(f"{size:,} {dim}" for dim, size in group.sizes.items()) or "no axes"
            counts = ", ".join(
                f"{count:,} {STATUS_WORDS[kind]}"
                for kind, count in group.counts.items()
                if count or kind != Status.BLOCKED
            )
            console.print(f"  {name:<10} {counts} of {group.total:,} ({axes})")
    if unfinished:
        begun = f"{unfinished:,} {'run has' if unfinished == 1 else 'runs have'}"
        console.print(f"  segments   {begun} ended some, and will go on from there")
    console.print(f"  writing    {_writer(progress)}")
    print_failures(progress)


def _writer(progress: StoreProgress) -> str:
    if progress.writer is not None:
        return str(progress.writer)
    finished = not progress.leaders.counts[Status.PENDING]
    return "nobody" if finished else "nobody: `stackpop sweep` with its file resumes it"


def print_failures(progress: StoreProgress) -> None:
    """The first runs that failed or were blocked, each with its reason."""
    failures = progress.leaders.failures
    for failure in failures[:MOST_FAILURES]:
        where = ", ".join(f"{dim}={label}" for dim, label in failure.labels.items())
        console.print(f"{STATUS_WORDS[failure.status]}: {where}: {failure.error}")
    if len(failures) > MOST_FAILURES:
        console.print(f"({len(failures) - MOST_FAILURES:,} more: see `status` and `error` in the store)")
