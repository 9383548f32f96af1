"""One HTML file on a sweep, to be read and mailed: everything is in it, and it loads nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xarray as xr

from stackpop.analysis import TOLERANCE, WINDOW, Findings, read_findings
from stackpop.display.text import STATUS_WORDS
from stackpop.errors import StackpopError, explain
from stackpop.report.markdown import search_start
from stackpop.report.tables import (
    claim_numbers,
    claim_outcome,
    code,
    failures_table,
    returns_table,
    times,
    trials_table,
)
from stackpop.store import Progress, Status, open_results, read_progress

MOST_FAILURES = 50
PACKAGES = ("stackpop", "python", "torch", "numpy", "dask", "xarray", "zarr")


@dataclass(frozen=True)
class _Figure:
    """A part of the page with a figure, or the reason why there is none."""

    heading: str
    text: str
    title: str = ""
    html: str = ""
    reason: str = ""


def write_report(store: str, file: Path) -> None:
    """Write the report of a sweep, finished or running: one HTML file that needs no network.

    Raises:
        StoreError: no store of ours.
        StackpopError: the place cannot be written to.
    """
    page = report_page(store)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        got = str(error.strerror or error).lower()
        raise StackpopError(explain(str(file), expected="a file to write", got=got, remedy="name another")) from error


def report_page(store: str) -> str:
    """The report as text; see `write_report`. All names in it are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from stackpop import figures

    found, progress = read_findings(store), read_progress(store)
    environment = Environment(
        loader=PackageLoader("stackpop.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    search = found.spec.search
    return environment.get_template("page.html").render(
        name=found.spec.name,
        description=found.spec.description,
        state=_state(progress),
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        claims=[(each.claim, claim_numbers(each), each.status, claim_outcome(each)) for each in found.outcomes],
        table=returns_table(found.results) if search is None else trials_table(search, found.results),
        grid=search is None,
        window=min(WINDOW, found.results.sizes["iteration"]),
        tolerance=TOLERANCE,
        figures=_figures(store, found),
        library=figures.library(),
        policy=figures.POLICY,
        failures=failures_table(progress.leaders.failures, MOST_FAILURES),
        followers=failures_table(progress.followers.failures if progress.followers else (), MOST_FAILURES),
        facts=_facts(store, found.results),
        versions=[(name, found.results.attrs.get(f"{name}_version", "unknown")) for name in PACKAGES],
        spec=found.results.attrs["spec"],
    )


def _state(progress: Progress) -> str:
    """How many runs there are of each status, and whether somebody writes."""
    counts = progress.leaders.counts
    words = [f"{counts[kind]:,} {STATUS_WORDS[kind]}" for kind in Status if counts[kind]]
    writing = ", being written now" if progress.writer is not None else ""
    return f"{progress.leaders.total:,} runs: {', '.join(words)}{writing}"


def _facts(store: str, results: xr.Dataset) -> list[tuple[str, str]]:
    """What is known of how the runs were made."""
    found = [("store", store), ("created", str(results.attrs.get("created_at", "unknown")))]
    found += [("runs done", text) for text in times(results)[:1]] + [("work", text) for text in times(results)[1:]]
    workers = sorted({str(worker) for worker in np.ravel(results.worker.values) if worker})
    hosts = sorted({urlsplit(worker).hostname or worker for worker in workers})
    if workers:
        shown = ", ".join(hosts[:10]) + (f" and {len(hosts) - 10:,} more" if len(hosts) > 10 else "")
        found.append(("machines", f"{shown} ({len(workers):,} workers)"))
    return found + code(results)


def _figures(store: str, found: Findings) -> list[_Figure]:
    """All figures that the results have something for."""
    from stackpop import figures

    parts: list[_Figure] = []
    drawn: list[tuple[_Figure, Any]] = []
    for heading, text, make in _wanted(store, found):
        try:
            with warnings.catch_warnings(), figures.html_only():
                warnings.simplefilter("ignore")  # what a library thinks of its own use is not for the reader
                drawn.append((_Figure(heading, text), make()))
        except StackpopError as error:
            parts.append(_Figure(heading, text, reason=str(error)))
    shown = figures.embedded([figure for _, figure in drawn])
    whole = [
        _Figure(part.heading, part.text, each.title, each.html) for (part, _), each in zip(drawn, shown, strict=True)
    ]
    return [*whole, *parts]


def _wanted(store: str, found: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Heading, explanation and drawing of each figure that the sweep asks for."""
    from stackpop import figures

    results, search = found.results, found.spec.search
    followers = open_results(store, "followers") if read_progress(store).followers is not None else None
    if search is not None:
        settings, start = search.settings, search_start(found)
        yield (
            "What the search tried",
            "A point is the mean over all runs of a trial, the star the best one, the dashed line where it started.",
            lambda: figures.searched_values(results, settings.objective, settings.window, start),
        )
    yield (
        "Leader returns",
        "Lines are means over seeds with a 95 % interval, dash-dotted those of the greedy leader. The exact values: "
        "the pure equilibrium wide and grey, the optimum of the protocol dashed, behavioural commitment dotted.",
        lambda: figures.learning_curves(results),
    )
    yield (
        "Gaps",
        "The equilibrium value less the leader's return: orange falls short, blue earns more than the best "
        "deterministic commitment, which a stochastic leader can.",
        lambda: figures.gap_map(results),
    )
    yield (
        "Time to convergence",
        "A point is a run, a bar the median of all runs; those that never converged have no point.",
        lambda: figures.convergence_times(results, followers),
    )
    yield (
        "Both players' returns",
        "Grey: what pairs of deterministic tables earn; outlined: what any play can. Diamonds are Nash equilibria in "
        "tables, stars Stackelberg equilibria; rings are where runs end, lines how they came there.",
        lambda: figures.payoff_plane(results),
    )
    yield (
        "Leader policies",
        "States are what the leader remembers: (its own last action, the follower's).",
        lambda: figures.leader_policy(results),
    )
    if followers is not None:
        yield (
            "Follower regret in pretraining",
            "What the follower loses against the leader table where it loses most.",
            lambda: figures.follower_regret(followers),
        )
    yield from _comparisons(found)


def _comparisons(found: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """The first two values of each swept axis."""
    from stackpop import figures

    for dim in found.spec.labels:
        if dim in ("matrix", "seed", "trial") or len(found.spec.labels[dim]) < 2:
            continue
        axis = dim.replace("_", ".", 1) if "." not in dim else dim

        def make(dim: str = dim) -> Any:
            return figures.comparison(found.results, dim)

        text = "Left, a point is a pair of runs that differ in nothing else; right, the mean differences."
        yield f"What {axis} makes of it", text, make
