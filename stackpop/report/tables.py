"""The tables of both pages, Markdown and HTML: what was claimed, earned, tried, and what went wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stackpop.analysis import Outcome, best_trials, steps_to_equilibrium, summary
from stackpop.spec.search import SearchSpec
from stackpop.store import FailedRun, Status
from stackpop.wording import MOST_ROWS, STATUS_WORDS, duration, interval, leading, number

VERSIONS = ("stackpop", "torch", "python")


@dataclass(frozen=True)
class Table:
    """Titles and rows of texts; the first `words` columns hold words, the others numbers."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    note: str = ""


def returns_table(results: xr.Dataset) -> Table:
    """Returns at the end by setting: `stackpop.analysis.summary`, shortened."""
    sizes = {str(dim): size for dim, size in results.status.sizes.items() if dim != "seed"}
    dims, total = list(sizes), math.prod(sizes.values())
    shown = min(total, MOST_ROWS)
    part = results.isel(leading(sizes, shown))
    steps = steps_to_equilibrium(part).load()
    rows = summary(part).assign(steps=steps.mean("seed") if "seed" in steps.dims else steps)
    stacked = rows.stack(row=dims) if dims else rows.expand_dims("row")
    table = []
    for row in (stacked.isel(row=i) for i in range(shown)):
        leader = with_interval(float(row.leader_return), float(row.low), float(row.high))
        values = [number(float(row[name])) for name in ("equilibrium", "greedy_return")]
        counts = [f"{int(row[name])}/{int(row.runs)}" for name in ("converged", "done")]
        if math.isnan(row.equilibrium):
            counts[0] = "-"
        thousands = number(float(row.steps) / 1000, 0)
        labels = [str(row[dim].item()) for dim in dims]
        table.append([*labels, values[0], leader, values[1], counts[0], thousands, counts[1]])
    titles = ["equilibrium", "leader return", "greedy return", "converged", "steps", "done"]
    note = f"({total - shown:,} more rows: see the store)" if total > shown else ""
    return Table([*dims, *titles], table, len(dims), note)


def trials_table(search: SearchSpec, results: xr.Dataset) -> Table:
    """What a search tried, the best first: `stackpop.analysis.best_trials`."""
    rows = best_trials(results, search.settings.objective, search.settings.window)
    searched = [str(name) for name, values in rows.coords.items() if values.dims == ("trial",) and name != "trial"]
    table = []
    for row in (rows.isel(trial=i) for i in range(min(rows.sizes["trial"], MOST_ROWS))):
        tried = [f"{float(row[name]):.4g}" for name in searched]
        objective = with_interval(float(row.objective), float(row.low), float(row.high))
        table.append([str(row.trial.item()), *tried, objective, f"{int(row.done)}/{int(row.runs)}"])
    return Table(["trial", *searched, f"{search.settings.objective} at the end", "done"], table, 0)


def claim_numbers(found: Outcome) -> list[str]:
    """Left, right, difference with interval, and pairs of a claim."""
    difference = with_interval(found.difference, found.low, found.high)
    pairs = f"{found.pairs:,}" + (f" of {found.pairs + found.missing:,}" if found.missing else "")
    return [number(found.left), number(found.right), difference, pairs]


def claim_outcome(found: Outcome) -> str:
    """Whether a claim holds, and why that is open."""
    return f"{found.status}: {found.reason}" if found.reason else found.status


def failures_table(failures: Sequence[FailedRun], most: int) -> Table:
    """The first runs that failed or were blocked, each with its reason."""
    rows = [
        [
            STATUS_WORDS[failure.status],
            ", ".join(f"{dim}={label}" for dim, label in failure.labels.items()),
            failure.error,
        ]
        for failure in failures[:most]
    ]
    more = len(failures) - most
    return Table(["", "run", "error"], rows, 3, f"({more:,} more: see the store)" if more > 0 else "")


def times(results: xr.Dataset) -> list[str]:
    """When the runs that are done were made, and how much work they were; nothing where no run is done."""
    done = (results.status == Status.DONE).values
    begun, ended = results.started.values[done], results.finished.values[done]
    if np.isnat(begun).all() or np.isnat(ended).all():
        return []
    first, last = np.nanmin(begun), np.nanmax(ended)
    return [
        f"{_moment(first)} to {_moment(last)} UTC ({duration((last - first) / np.timedelta64(1, 's'))})",
        f"{duration(float(results.wall_seconds.values[done].sum()))} of work, all workers together",
    ]


def code(results: xr.Dataset) -> list[tuple[str, str]]:
    """Which code made the runs: its revision, or the hash of its source."""
    revision = results.attrs.get("git_revision")
    return [("revision", str(revision)) if revision else ("source", str(results.attrs["source_hash"]))]


def with_interval(value: float, low: float, high: float) -> str:
    """A number and its interval, if it has one."""
    return number(value) if math.isnan(low) else f"{number(value)} {interval(low, high)}"


def _moment(time: Any) -> str:
    return str(np.datetime_as_string(time, unit="m")).replace("T", " ")
