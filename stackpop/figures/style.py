"""How figures look, for Bokeh (HTML) and Matplotlib (PNG, SVG) alike: colours, elements, labels from attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # makes the backend known
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from stackpop.games import MATRICES

BACKENDS = ("bokeh", "matplotlib")
# Chosen to differ from each other by at least 27 (CIE 1976) for eyes with full, red-blind and green-blind colour
# vision, these simulated as by Machado, Oliveira & Fernandes (IEEE TVCG 15, 2009), and to be read on white.
PALETTE = (
    "#0088FF", "#887711", "#003399", "#66CCAA", "#443366", "#CCBB33",
    "#228855", "#99BBFF", "#444400", "#887799", "#88CC77", "#114433",
)  # fmt: skip
INK, PALE, ACCENT, PLAIN = "#000000", "#C4C4C4", "#D55E00", "#0072B2"  # for what is no game
MISSING = "#E4E4E4"
PANEL = {"width": 270, "height": 220}  # pixels of a small multiple
COLUMNS = 4
SHORT_SPAN = 5
BOKEH_TOOLS: Mapping[str, Any] = {"default_tools": ["box_zoom", "reset", "save"], "toolbar": "above"}

DASHES = {"solid": "-", "dashed": "--", "dotted": ":", "dotdash": "-."}
MARKERS = {"circle": "o", "star": "*", "diamond": "D", "dash": "|"}


@cache
def has_matplotlib() -> bool:
    """Whether figures can be written as PNG and SVG; if so, its backend is made known."""
    if find_spec("matplotlib") is None:
        return False
    import holoviews.plotting.mpl  # noqa: F401  registers itself

    return True


def game_colour(name: str) -> str:
    """The colour of a game, the same in every figure of every store; never the only thing that tells games apart."""
    names = list(MATRICES)
    place = names.index(name) if name in names else int(sha256(name.encode()).hexdigest(), 16)
    return PALETTE[place % len(PALETTE)]


def label_of(values: xr.DataArray) -> str:
    """What an axis says: the variable's own name and units."""
    name = str(values.attrs.get("long_name", values.name)).replace("_", " ")
    units = values.attrs.get("units", "1")
    return name if units in ("1", "") else f"{name} ({units})"


def title_of(results: xr.Dataset, what: str) -> str:
    """A figure's title: the sweep and what is shown."""
    name = results.attrs.get("name")
    return f"{name}: {what}" if name else what


_html_only: ContextVar[bool] = ContextVar("_html_only", default=False)


@contextmanager
def html_only() -> Iterator[None]:
    """For figures that are drawn within it and never leave HTML: they are made in half the time.

    Each panel then has tools of its own, which show when the pointer is on it: to merge them takes Bokeh longer than
    all the rest.
    """
    before = _html_only.set(True)
    try:
        yield
    finally:
        _html_only.reset(before)


def styled(element: Any, *, bokeh: Mapping[str, Any], matplotlib: Mapping[str, Any]) -> Any:
    """An element with its options for either backend."""
    element = element.opts(**bokeh, backend="bokeh")
    if _html_only.get() or not has_matplotlib():
        return element
    return element.opts(**matplotlib, backend="matplotlib")


def part(element: Any, *, bokeh: Mapping[str, Any], matplotlib: Mapping[str, Any]) -> Any:
    """A part of a panel, which needs no tools of its own beside the panel's."""
    return styled(element, bokeh={"default_tools": [], **bokeh}, matplotlib=matplotlib)


# --- elements ---------------------------------------------------------------------------------------------------------


def line(
    x: ArrayLike, y: ArrayLike, dims: Sequence[str], colour: str, *, dash: str = "solid", width: float = 1.8,
    label: str = "", alpha: float = 1.0,
) -> Any:  # fmt: skip
    """A curve; dims: the texts of its axes."""
    curve = hv.Curve((x, y), *dims, label=label)
    return part(
        curve,
        bokeh={"color": colour, "line_dash": dash, "line_width": width, "alpha": alpha},
        matplotlib={"color": colour, "linestyle": DASHES[dash], "linewidth": width, "alpha": alpha},
    )


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, dims: Sequence[str], colour: str, alpha: float = 0.25) -> Any:
    """An interval around a curve."""
    area = hv.Area((x, low, high), dims[0], [dims[1], "high"])
    return part(
        area,
        bokeh={"color": colour, "line_color": None, "alpha": alpha},
        matplotlib={"color": colour, "facecolor": colour, "linewidth": 0, "alpha": alpha},
    )


def points(
    x: ArrayLike, y: ArrayLike, dims: Sequence[str], colour: str, *, marker: str = "circle", size: float = 5,
    alpha: float = 1.0, label: str = "", edge: str | None = None, hollow: bool = False,
) -> Any:  # fmt: skip
    """Points; size: their diameter in pixels. edge: the colour of their rims. hollow: rims alone."""
    rims: dict[str, Any] = {"line_color": edge} if edge else {}
    edges: dict[str, Any] = {"edgecolors": edge} if edge else {}
    if hollow:
        rims = {"fill_color": None, "line_color": colour, "line_width": 1.6}
        edges = {"facecolors": "none", "edgecolors": colour, "linewidth": 1.4}
    turned: dict[str, Any] = {"angle": 90} if marker == "dash" else {}
    return part(
        hv.Points((x, y), list(dims), label=label),
        bokeh={"color": colour, "marker": marker, "size": size, "alpha": alpha, **rims, **turned},
        matplotlib={"color": colour, "marker": MARKERS[marker], "s": size**2 / 1.8, "alpha": alpha, **edges},
    )


def bars(places: ArrayLike, low: ArrayLike, high: ArrayLike, dims: Sequence[str], colour: str) -> Any:
    """Horizontal intervals at heights `places`."""
    segments = hv.Segments((low, places, high, places), [dims[0], dims[1], "end", "height"])
    return part(
        segments,
        bokeh={"color": colour, "line_width": 2.5},
        matplotlib={"color": colour, "linewidth": 2},
    )


def texts(x: ArrayLike, y: ArrayLike, words: Sequence[str], dims: Sequence[str], *, colour: str = INK) -> Any:
    """Words at places."""
    labels = hv.Labels((x, y, words), list(dims), "words")
    return part(
        labels,
        bokeh={"text_font_size": "8pt", "text_color": colour},
        matplotlib={"size": 8, "color": colour},
    )


# --- compositions -----------------------------------------------------------------------------------------------------


def overlay(
    parts: Sequence[Any], title: str, *, legend: str | None = None, size: Mapping[str, int] = PANEL, **options: Any
) -> Any:
    """Elements over each other, as one panel.

    legend: its corner, or None. size: width and height in pixels. options: those that both backends know.
    """
    legends = {"show_legend": legend is not None, **({"legend_position": legend} if legend else {})}
    small = {"title": 9, "labels": 8, "ticks": 7, "legend": 7}
    points = {part: f"{number}pt" for part, number in small.items()}
    inches = size["width"] / 90, size["height"] / 90
    return styled(
        hv.Overlay(parts),
        bokeh={
            "title": title, "fontsize": points, **size, **legends, **BOKEH_TOOLS,
            "autohide_toolbar": _html_only.get(), **_bokeh_legend(legend), **options,
        },
        matplotlib={
            "title": title, "fontsize": small, "aspect": "auto", "fig_inches": inches, **legends, **options,
        },
    )  # fmt: skip


def _bokeh_legend(legend: str | None) -> dict[str, Any]:
    if legend is None:
        return {}
    slim = {"background_fill_alpha": 0.7, "padding": 3, "spacing": 0, "glyph_height": 12, "border_line_color": None}
    return {"legend_opts": slim}


def multiples(
    panels: Sequence[Any],
    title: str,
    *,
    columns: int = COLUMNS,
    title_lines: int = 1,
    panel: Mapping[str, int] = PANEL,
    gap: float = 0.3,
) -> Any:
    """Panels side by side under one title.

    title_lines: of the panel with most lines in its title. panel: width and height of one, in pixels. gap: between two
    of them in Matplotlib, in widths of a panel.
    """
    columns = max(1, min(columns, len(panels)))
    rows = -(-len(panels) // columns)
    line_inches = 0.15 * (title_lines - 1)
    inches = columns * panel["width"] / 90, rows * (panel["height"] / 90 + line_inches) + 0.4
    return styled(
        hv.Layout(list(panels)).cols(columns),
        bokeh={"shared_axes": False, "title": title, "toolbar": "above", "merge_tools": not _html_only.get()},
        matplotlib={
            "fig_inches": inches, "vspace": 0.5 + 0.15 * (title_lines - 1), "hspace": gap, "sublabel_format": "",
            "shared_axes": False, "title": title, "fontsize": {"title": 11},
        },
    )  # fmt: skip


def asked(figure: Any) -> Mapping[str, Any]:
    """What a figure asks of Matplotlib: `fig_inches` (width and height), `title`."""
    options: Mapping[str, Any] = hv.Store.lookup_options("matplotlib", figure, "plot").kwargs
    return options


def update_ticks(first: int, last: int) -> list[tuple[int, str]]:
    """Ticks of a log axis of updates, at powers of ten and the last."""
    tens = [10**k for k in range(10) if first <= 10**k and 2 * 10**k < last]
    return [(tick, f"{tick:,}") for tick in [*tens, last]]


def step_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of a log axis of large counts: "50k"; at round steps where it spans little, else at 1, 2 and 5."""
    if high < SHORT_SPAN * low:
        rough = (high - low) / 5 or low
        unit = 10 ** np.floor(np.log10(rough))
        step = unit * min(k for k in (1, 2, 5, 10) if k * unit >= rough)
        ticks = [float(tick) for tick in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]
    else:
        ticks = [float(f"{k}e{power}") for power in range(int(np.log10(high)) + 1) for k in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high] or [low]
    return [(tick, _short(tick)) for tick in inside]


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def limits(values: ArrayLike, margin: float = 0.06) -> tuple[float, float]:
    """The range of values, missing ones left out, with a margin on either side."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = margin * (high - low) or margin * max(abs(low), 1.0)
    return low - room, high + room
