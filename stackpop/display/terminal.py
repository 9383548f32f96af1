"""Tables as the terminal shows them."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

MOST_WIDTH = 1000

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


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
