"""The page `/stackpop` of a scheduler's dashboard, as `stackpop.cluster.board` puts it there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, FixedTicker, LinearColorMapper, Range1d
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from distributed import Scheduler

from stackpop.cluster.board import COLOURS, latest

if TYPE_CHECKING:
    from bokeh.document import Document

DASK_PAGES = ("status", "workers", "tasks", "graph", "system", "profile", "info")
REFRESH_MILLISECONDS = 1000
SAMPLES = 3600  # of the speed, one a refresh


class Page:
    """One browser's view of the sweep."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._headline = Div(text="no sweep yet", render_as_text=True, styles={"font-size": "120%"})
        links = " · ".join(f'<a href="{page}">{page}</a>' for page in DASK_PAGES)
        self._cells = ColumnDataSource({"image": [np.zeros((1, 1), np.uint8)], "width": [1], "height": [1]})
        self._gaps = ColumnDataSource({"row": [], "mean": [], "best": []})
        self._speed = ColumnDataSource({"seconds": [], "runs": []})
        self._before = (0.0, 0)  # seconds and finished runs when the speed was last shown
        rows = Range1d(start=0, end=1)
        self._population = self._population_figure(rows)
        self._gap_figure = self._gaps_figure(rows)
        self._speed_figure = _plot(
            "runs finished a second", x_axis_label="seconds", height=200, sizing_mode="stretch_width"
        )
        self._speed_figure.line("seconds", "runs", source=self._speed, color="black")
        figures = row(self._population, self._gap_figure, sizing_mode="stretch_both")
        self.root = column(
            self._headline, Div(text=f"Dask: {links}"), figures, self._speed_figure, sizing_mode="stretch_both"
        )

    def _population_figure(self, rows: Range1d) -> Any:
        plot = _plot("runs, a row each game", x_axis_label="run", y_range=rows, sizing_mode="stretch_both")
        colours = LinearColorMapper(palette=list(COLOURS.values()), low=-0.5, high=len(COLOURS) - 0.5)
        plot.image("image", x=0, y=0, dw="width", dh="height", source=self._cells, color_mapper=colours)
        for status, colour in COLOURS.items():  # one point each that is nowhere, for the legend
            plot.scatter([math.nan], [math.nan], marker="square", size=12, color=colour, legend_label=status)
        _legend_above(plot)
        plot.grid.visible = False
        return plot

    def _gaps_figure(self, rows: Range1d) -> Any:
        title, label = "gap of runs finished since the start", "equilibrium gap at the end, payoff an episode"
        plot = _plot(title, x_axis_label=label, y_range=rows, width=420, sizing_mode="stretch_height")
        plot.hbar(y="row", right="mean", height=0.6, source=self._gaps, color="#0072B2", legend_label="mean")
        plot.scatter("best", "row", source=self._gaps, size=9, marker="diamond", color="#E69F00", legend_label="best")
        _legend_above(plot)
        return plot

    def update(self) -> None:
        """Show what was told last."""
        told = latest(self._scheduler)
        if told is None:
            return
        games, cells = told["games"], np.array(told["cells"], dtype=np.uint8)
        order = slice(None, None, -1)  # the first game on top
        self._headline.text = headline(told)
        self._cells.data = {"image": [cells[order]], "width": [told["runs_a_game"]], "height": [len(games)]}
        places = [len(games) - 0.5 - k for k in range(len(games))]
        self._population.x_range.end = told["runs_a_game"]
        gaps = [gap for gap in (*told["gap_mean"], *told["gap_best"]) if not math.isnan(gap)]
        if gaps:
            _set_range(self._gap_figure.x_range, gaps)
        for plot in (self._population, self._gap_figure):
            plot.y_range.end = len(games)
            plot.yaxis.ticker = FixedTicker(ticks=places)
            plot.yaxis.major_label_overrides = dict(zip(places, games, strict=True))
        self._gaps.data = {"row": places, "mean": told["gap_mean"], "best": told["gap_best"]}
        seconds, finished = told["seconds"], told["finished"]
        if seconds > self._before[0]:
            speed = (finished - self._before[1]) / (seconds - self._before[0])
            self._speed.stream({"seconds": [seconds], "runs": [speed]}, rollover=SAMPLES)
            self._before = seconds, finished
            self._speed_figure.x_range.end = seconds
            _set_range(self._speed_figure.y_range, list(self._speed.data["runs"]))


def _plot(title: str, **options: Any) -> Any:
    # Bokeh complains of ranges that it is to find where there is no number yet.
    ranges = {"x_range": Range1d(start=0, end=1), "y_range": Range1d(start=0, end=1)}
    return figure(title=title, toolbar_location=None, tools="", **{**ranges, **options})


def _set_range(shown: Any, numbers: Sequence[float]) -> None:
    """Show the numbers, and zero."""
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    margin = 0.05 * (high - low) or 1.0
    shown.start, shown.end = low - margin * (low < 0), high + margin


def _legend_above(plot: Any) -> None:
    plot.add_layout(plot.legend[0], "above")
    plot.legend.orientation = "horizontal"


def headline(told: dict[str, Any]) -> str:
    """One line on how far a sweep is."""
    counts = ", ".join(f"{told['counts'][status]:,} {status}" for status in COLOURS)
    speed = f"{told['runs_per_second']:.3g} runs/s, {told['env_steps_per_second']:,.0f} environment steps/s"
    left = "" if told["seconds_left"] is None else f" | {timedelta(seconds=round(told['seconds_left']))} left"
    return f"{told['sweep']}: {counts} | {speed}{left}"


def population(scheduler: Scheduler, _extra: dict[str, Any], doc: Document) -> None:
    """The page, made anew for each browser that asks for it."""
    page = Page(scheduler)
    page.update()
    doc.title = "stackpop"
    doc.add_root(page.root)
    doc.add_periodic_callback(page.update, REFRESH_MILLISECONDS)
