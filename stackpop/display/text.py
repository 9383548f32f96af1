"""Numbers, words and tables as the terminal shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from stackpop.store import Status

MOST_ROWS = 60  # of a table
HUGE = 1e9  # from here on numbers are printed with an exponent
MOST_WIDTH = 1000
STATUS_WORDS = {
    Status.PENDING: "pending",
    Status.RUNNING: "in flight",
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.BLOCKED: "blocked",
}

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def count(number: int, word: str) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(number: float) -> str:
    """A number of bytes in a unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def number(value: float, decimals: int = 2) -> str:
    """A number of few digits, whatever its size; a dash for what is unknown."""
    if math.isnan(value):
        return "-"
    return f"{value:.{decimals}f}" if abs(value) < HUGE else f"{value:.{decimals}e}"


def interval(low: float, high: float) -> str:
    """An interval in brackets; a dash for none."""
    return "-" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def make_table(title: str, *columns: str) -> Table:
    """An empty table with these first columns."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """A table as wide as it needs: a cut number is worse than a long line."""
    needed = console.measure(table, options=console.options.update(width=MOST_WIDTH)).maximum
    Console(width=needed, highlight=False, markup=False, emoji=False).print(table)


def leading(sizes: Mapping[str, int], rows: int) -> dict[str, slice]:
    """The smallest part of a grid that holds its first `rows` rows, the last dim being the fastest."""
    part = {}
    for dim in reversed(list(sizes)):
        part[dim] = slice(rows)
        rows = math.ceil(rows / sizes[dim])
    return part
