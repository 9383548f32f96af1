"""The figures of a report as parts of its page."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from stackpop import figures
from stackpop.analysis import Findings, read_findings
from stackpop.errors import StackpopError
from stackpop.report.files import Others
from stackpop.report.wanted import wanted_figures


@dataclass(frozen=True)
class Figure:
    """A part of the page with a figure, or the reason why there is none."""

    heading: str
    text: str
    title: str = ""
    html: str = ""
    reason: str = ""


def tell_every_other(store: str) -> None:
    """Draw every other figure of a store, beginning with the second, and print them as JSON."""
    wanted = list(wanted_figures(store, read_findings(store)))[1::2]
    print(json.dumps([asdict(_drawn(f"other-{k}", *each)) for k, each in enumerate(wanted)]))


def drawn_figures(store: str, found: Findings, others: Others) -> list[Figure]:
    """All figures that the results have something for, and at the end the reasons why there are no more.

    others: tells those that `tell_every_other` drew.
    """
    wanted = list(wanted_figures(store, found))
    drawn = [_drawn(f"figure-{k}", *each) for k, each in enumerate(wanted[::2])]
    parts = {part.heading: part for part in (*drawn, *(Figure(**each) for each in others()))}
    # The other process may have failed, or seen less of a sweep that runs.
    whole = [
        parts.get(heading) or _drawn(f"more-{k}", heading, text, make) for k, (heading, text, make) in enumerate(wanted)
    ]
    return sorted(whole, key=lambda part: bool(part.reason))


def _drawn(name: str, heading: str, text: str, make: Callable[[], Any]) -> Figure:
    """A figure as a part of a page; name: of its place there."""
    try:
        with warnings.catch_warnings(), figures.html_only():
            warnings.simplefilter("ignore")  # what a library thinks of its own use is not for the reader
            shown = figures.embedded(make(), name)
    except StackpopError as error:
        return Figure(heading, text, reason=str(error))
    return Figure(heading, text, shown.title, shown.html)
