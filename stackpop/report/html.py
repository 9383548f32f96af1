"""One HTML file on a sweep, to be read and mailed: everything is in it, and it loads nothing."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import xarray as xr

from stackpop.analysis import TOLERANCE, WINDOW, Findings, read_findings
from stackpop.display.text import STATUS_WORDS
from stackpop.errors import StackpopError, explain
from stackpop.report.tables import (
    claim_numbers,
    claim_outcome,
    code,
    failures_table,
    returns_table,
    times,
    trials_table,
)
from stackpop.store import Progress, Status, read_progress

if TYPE_CHECKING:
    from jinja2 import Environment

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
    from stackpop import figures

    found = read_findings(store)
    return (
        _templates()
        .get_template("page.html")
        .render(
            **_texts(store, found, "report"),
            figures=_figures(store, found),
            library=figures.library(),
            policy=figures.POLICY,
        )
    )


def report_parts(store: str, found: Findings, command: str) -> tuple[str, str, str]:
    """What the report says before its figures and after them, as HTML, and its style sheet.

    command: of stackpop, by which it was made.
    """
    templates, texts = _templates(), _texts(store, found, command)
    start, end, style = (templates.get_template(name) for name in ("start.html", "end.html", "style.css"))
    return start.render(**texts), end.render(**texts), style.render()


def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("stackpop.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def _texts(store: str, found: Findings, command: str) -> dict[str, Any]:
    """What the templates are filled with, but for the figures."""
    search, progress = found.spec.search, read_progress(store)
    return {
        "name": found.spec.name,
        "description": found.spec.description,
        "state": _state(progress),
        "now": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "claims": [(each.claim, claim_numbers(each), each.status, claim_outcome(each)) for each in found.outcomes],
        "table": returns_table(found.results) if search is None else trials_table(search, found.results),
        "grid": search is None,
        "window": min(WINDOW, found.results.sizes["iteration"]),
        "tolerance": TOLERANCE,
        "failures": failures_table(progress.leaders.failures, MOST_FAILURES),
        "followers": failures_table(progress.followers.failures if progress.followers else (), MOST_FAILURES),
        "facts": _facts(store, found.results),
        "versions": [(name, found.results.attrs.get(f"{name}_version", "unknown")) for name in PACKAGES],
        "spec": found.results.attrs["spec"],
    }


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
    if machine := results.attrs.get("machine"):
        found.append(("written on", str(machine)))
    workers = sorted({str(worker) for worker in np.ravel(results.worker.values) if worker})
    hosts = sorted({urlsplit(worker).hostname or worker for worker in workers})
    if workers:
        shown = ", ".join(hosts[:10]) + (f" and {len(hosts) - 10:,} more" if len(hosts) > 10 else "")
        found.append(("trained on", f"{shown} ({len(workers):,} workers)"))
    return found + code(results)


def _figures(store: str, found: Findings) -> list[_Figure]:
    """All figures that the results have something for."""
    from stackpop import figures
    from stackpop.report.wanted import wanted_figures

    parts: list[_Figure] = []
    drawn: list[tuple[_Figure, Any]] = []
    for heading, text, make in wanted_figures(store, found):
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
