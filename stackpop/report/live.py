"""The report of a sweep as a page that follows it: served here, and drawn anew as runs end."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

import panel as pn

from stackpop import figures
from stackpop.analysis import read_findings
from stackpop.errors import StackpopError, explain
from stackpop.report.html import report_parts
from stackpop.report.wanted import wanted_figures
from stackpop.store import Status, read_progress

LOOK_SECONDS = 1.0  # between two looks at the store, and of a browser's page at what was drawn
_ENDED = (Status.DONE, Status.FAILED, Status.BLOCKED)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Drawn:
    """A report as it was at some time: HTML before and after the figures, and these by their headings.

    figures: heading -> (explanation, figure, or the reason why there is none).
    """

    title: str = "stackpop"
    start: str = "<p>Reading the store.</p>"
    end: str = ""
    style: str = ""
    figures: dict[str, tuple[str, Any]] = field(default_factory=dict)


class LiveReport:
    """The report of one store, for any number of browsers.

    seconds: the least time between two drawings. drawn: the last one.
    """

    def __init__(self, store: str, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self.drawn = Drawn()
        self._ended = threading.Event()

    def follow(self) -> None:
        """Draw the report whenever runs have ended since, until `stop`; for a thread of its own."""
        seen: object = None
        while not self._ended.wait(LOOK_SECONDS if seen is not None else 0):
            try:
                progress = read_progress(self._store)
                counts = progress.leaders.counts
                state = [counts[each] for each in _ENDED], progress.writer is None
                if state == seen:
                    continue
                begun = time.monotonic()
                self.drawn, seen = self._draw(), state
                # A report that takes long to draw is drawn less often: half the time is left for browsers.
                self._ended.wait(max(self._seconds, time.monotonic() - begun))
            except StackpopError as error:
                # As when the sweep that is watched begins anew in another store.
                self.drawn, seen = Drawn(start=f"<p>{escape(str(error))}</p>"), error

    def stop(self) -> None:
        """End `follow`."""
        self._ended.set()

    def _draw(self) -> Drawn:
        found = read_findings(self._store)
        start, end, style = report_parts(self._store, found, "watch")
        drawn: dict[str, tuple[str, Any]] = {}
        for heading, text, make in wanted_figures(self._store, found):
            try:
                with warnings.catch_warnings(), figures.html_only():
                    warnings.simplefilter("ignore")
                    drawn[heading] = text, make()
            except StackpopError as error:
                drawn[heading] = text, str(error)
        return Drawn(found.spec.name, start, end, style, drawn)

    def page(self) -> Any:
        """A page for one browser, a Panel column."""
        page, shown = pn.Column(sizing_mode="stretch_width"), [self.drawn]
        _show(page, self.drawn)

        def follow() -> None:
            if shown[0] is not self.drawn:
                shown[0] = self.drawn
                _show(page, shown[0])

        pn.state.add_periodic_callback(follow, period=int(1000 * LOOK_SECONDS))
        return page


def _show(page: Any, drawn: Drawn) -> None:
    """Put a drawing on a page; where it has the same figures as the last one, they stay where they are."""
    names = ["start", *drawn.figures, "end"]
    if [part.name for part in page] != names:
        page[:] = [pn.Column(name=name) for name in names]
    page[0][:], page[-1][:] = [_text(drawn.start, drawn)], [_text(drawn.end, drawn)]
    for part, (heading, (text, figure)) in zip(page[1:-1], drawn.figures.items(), strict=True):
        title = _text(f"<h3>{escape(heading)}</h3><p>{escape(text)}</p>", drawn)
        shown = _text(f"<p>Not drawn. {escape(figure)}</p>", drawn) if isinstance(figure, str) else _figure(figure)
        part[:] = [title, shown]


def _text(html: str, drawn: Drawn) -> Any:
    made: Any = pn.pane.HTML
    return made(html, stylesheets=[drawn.style], sizing_mode="stretch_width")


def _figure(figure: Any) -> Any:
    made: Any = pn.pane.HoloViews
    return made(figure, backend="bokeh", linked_axes=False)


def watch(store: str, address: str, port: int, seconds: float, told: Callable[[str], None]) -> None:
    """Serve the report of a store until Ctrl-C.

    port: 0 for any that is free. told: is given the page's URL once it is served.

    Raises:
        StoreError: no store of ours.
        StackpopError: the address cannot be listened at.
    """
    read_progress(store)
    report = LiveReport(store, seconds)
    thread = threading.Thread(target=report.follow, daemon=True)
    origin = None if address in LOOPBACK else "*"
    try:
        server: Any = pn.io.server.get_server(
            {"/": report.page}, port=port, address=address, websocket_origin=origin, title="stackpop"
        )
    except OSError as error:
        got = str(error.strerror or error).lower()
        line = explain("--port", expected=f"one to listen at on {address}", got=repr(got), remedy="name another, or 0")
        raise StackpopError(line) from error
    thread.start()
    told(f"http://{address}:{server.port}/")
    try:
        server.start()
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        report.stop()
        server.stop()
