"""Numbers and words as people read them, in the terminal and on pages."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stackpop.store import Status

MOST_ROWS = 60  # of a table
HUGE = 1e9  # from here on numbers are printed with an exponent
STATUS_WORDS = {
    Status.PENDING: "pending",
    Status.RUNNING: "in flight",
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.BLOCKED: "blocked",
}


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


def leading(sizes: Mapping[str, int], rows: int) -> dict[str, slice]:
    """The smallest part of a grid that holds its first `rows` rows, the last dim being the fastest."""
    part = {}
    for dim in reversed(list(sizes)):
        part[dim] = slice(rows)
        rows = math.ceil(rows / sizes[dim])
    return part
