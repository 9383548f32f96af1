"""One HTML file on a sweep, to be read and mailed: everything is in it, and it loads nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import xarray as xr

from stackpop import figures
from stackpop.analysis import TOLERANCE, WINDOW, Findings, read_findings
from stackpop.report.drawing import drawn_figures
from stackpop.report.files import Others
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
from stackpop.wording import STATUS_WORDS

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_FAILURES = 50
PACKAGES = ("stackpop", "python", "torch", "numpy", "dask", "xarray", "zarr")


def rendered(store: str, others: Others) -> str:
    """The page; others: as of `drawn_figures`."""
    found = read_findings(store)
    texts, shown = _texts(store, found, "report"), drawn_figures(store, found, others)
    page = _templates().get_template("page.html")
    return page.render(**texts, figures=shown, library=figures.library(), policy=figures.POLICY)


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
