"""Figures as files: HTML that needs no network (Bokeh), PNG and SVG (Matplotlib)."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import holoviews as hv

from stackpop.errors import StackpopError, explain
from stackpop.figures import style

ENDINGS = (".html", ".png", ".svg")
DPI = 80
# A browser that heeds it asks for nothing, whatever a script would like.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
_UNDATED: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}}  # the same figure is the same file


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as HTML, PNG or SVG, by the file's ending; its folder is made if there is none.

    Raises:
        StackpopError: another ending, no Matplotlib for PNG and SVG, or a place that cannot be written to.
    """
    file = Path(path)
    check_file(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".html":
            file.write_text(page(figure), encoding="utf-8")
        else:
            _draw(figure, file)
    except OSError as error:
        got = str(error.strerror or error).lower()
        raise StackpopError(explain(str(file), expected="a file to write", got=got, remedy="name another")) from error


def _draw(figure: Any, file: Path) -> None:
    from matplotlib.ticker import NullFormatter

    drawn, asked = hv.render(figure, backend="matplotlib"), style.asked(figure)
    for axes in drawn.axes:
        axes.set_aspect("auto")  # HoloViews takes the ratio of a log axis for that of a linear one
        if axes.get_xscale() == "log":
            axes.xaxis.set_minor_formatter(NullFormatter())
    width, height = asked["fig_inches"]
    drawn.set_size_inches(width, height)
    if isinstance(figure, hv.Layout):  # which shows its title only above two panels or more
        more = max(axes.get_title().count("\n") for axes in drawn.axes)  # lines of a panel's title, beyond the first
        drawn.suptitle(asked["title"], y=1 + (0.05 + 0.2 * more) / height, va="bottom", fontsize=11)
    drawn.savefig(file, dpi=DPI, bbox_inches="tight", metadata=_UNDATED[file.suffix])


def check_file(file: Path) -> None:
    """Refuse a file that no figure can be written to, before it is drawn.

    Raises:
        StackpopError: another ending, or no Matplotlib for PNG and SVG.
    """
    if file.suffix not in ENDINGS:
        expected, remedy = "a file that ends in .html, .png or .svg", "the ending says what is written"
        raise StackpopError(explain("output", expected=expected, got=repr(str(file)), remedy=remedy))
    if file.suffix != ".html" and not style.has_matplotlib():
        remedy = "pip install 'stackpop[plots]', or write .html"
        raise StackpopError(explain("output", expected=f"Matplotlib for {file.suffix}", got="none", remedy=remedy))


def page(figure: Any) -> str:
    """A figure as a whole HTML page that loads nothing."""
    shown = embedded(figure, "figure")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">\n'
        f"<title>{escape(shown.title)}</title>\n"
        f"<style>body {{ font-family: sans-serif; }}</style>\n{library()}</head><body>\n"
        f"<h1 style='font-size: 1.1em'>{escape(shown.title)}</h1>\n{shown.html}</body></html>\n"
    )


@dataclass(frozen=True)
class Embedded:
    """A figure as a part of a page that has `library` before it: its title, as text, and its place with its data."""

    title: str
    html: str


def embedded(figure: Any, name: str) -> Embedded:
    """A figure as a part of a page; name: of its place, no other has it there."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    more: Any = {"sync_legends": False} if isinstance(figure, hv.Layout) else {}
    title, model = _untitled(hv.renderer("bokeh").get_plot_state(figure, **more))
    parts = sorted(model.references(), key=lambda part: part.id)  # once, for to collect them takes long
    _drop_selected_looks(parts)
    _link_legends(parts)
    item: Any = json_item(model, ID(name))
    item["doc"].pop("defs", None)  # classes of Panel, which no figure uses, and which would ask for more scripts
    data = json.dumps(item, separators=(",", ":")).replace("<", "\\u003c")  # or a text could end the script
    return Embedded(title, f'<div id="{name}"></div>\n<script>Bokeh.embed.embed_item({data})</script>\n')


def _untitled(model: Any) -> tuple[str, Any]:
    """The title of a figure and the rest of it: titles of layouts are widgets, whose scripts are half a megabyte."""
    from bokeh.models.widgets import Div

    children = getattr(model, "children", None)
    if children and isinstance(children[0], Div):
        title = unescape(re.sub("<[^>]*>", "", children[0].text)).strip()
        return title, children[1]
    title, model.title = model.title.text, None
    return title, model


def _drop_selected_looks(parts: Sequence[Any]) -> None:
    """Leave out how glyphs look when some are selected, which no tool of ours does: a tenth of a figure's objects."""
    for renderer in _glyphs(parts):
        renderer.selection_glyph = renderer.nonselection_glyph = None


def _link_legends(parts: Sequence[Any]) -> None:
    """Mute in all panels what a click on a legend mutes, with one callback for each line of the legend.

    HoloViews has one for every two panels, a third of a figure's objects.
    """
    from bokeh.models import CustomJS
    from bokeh.models.annotations import Legend

    named: dict[str | None, list[Any]] = defaultdict(list)
    for renderer in _glyphs(parts):
        named[renderer.name].append(renderer)
    items: list[Any] = [item for part in parts if isinstance(part, Legend) for item in part.items]
    for renderer in (each for item in items for each in item.renderers):
        others = [each for each in named[renderer.name] if each is not renderer]
        code = "for (const other of others) other.muted = cb_obj.muted"
        renderer.js_on_change("muted", CustomJS(args={"others": others}, code=code))


def _glyphs(parts: Sequence[Any]) -> list[Any]:
    from bokeh.models.renderers import GlyphRenderer

    return [part for part in parts if isinstance(part, GlyphRenderer)]


def library() -> str:
    """Bokeh's own JavaScript as part of a page, 1.3 MB, without what figures do not use."""
    from bokeh.resources import Resources

    # Not `render_js`: Panel, which HoloViews imports, adds scripts of its own there, by their addresses.
    parts: list[str] = Resources(mode="inline", components=["bokeh"]).js_raw
    return "".join(f"<script>{part}</script>\n" for part in parts)
