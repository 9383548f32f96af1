"""Two values of an axis beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from stackpop.display.terminal import console, make_table, print_table
from stackpop.wording import MOST_ROWS, count, interval, number

if TYPE_CHECKING:
    import xarray as xr


def compare(store: str, over: str, variable: str, window: int, where: Mapping[str, Sequence[str]]) -> None:
    """The first value of an axis against each other one, for each setting of the other axes and pooled over them.

    where: axis -> the labels of the runs to compare, as texts.
    """
    from stackpop.analysis import compare, run_values, select, with_pretraining
    from stackpop.store import open_results

    dim = over.replace(".", "_")
    alone = {axis for axis, labels in where.items() if len(labels) == 1 and axis.replace(".", "_") != dim}
    results = with_pretraining(open_results(store), store)
    part = select(results, {axis: labels[0] if axis in alone else labels for axis, labels in where.items()})
    runs = run_values(part, variable, window)
    pooled = compare(runs, over, variable, pooled=True)
    others = [str(d) for d in runs.status.dims if d not in ("seed", dim)]
    rows = compare(runs, over, variable).stack(row=["pair", *others])
    averaged = variable not in part or part[variable].ndim > runs[variable].ndim
    mean = f", mean over the last {window} updates" if averaged else ""
    table = make_table(f"{variable}{mean}: left minus right, 95 % bootstrap interval over seeds", over, *others)
    for name in ("left", "right", "difference", "interval", "pairs", "excludes 0"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (rows.isel(row=i) for i in range(min(rows.sizes["row"], MOST_ROWS))):
        table.add_row(*_compared(row, [str(row[d].item()) for d in others]))
    table.add_section()
    for row in (pooled.isel(pair=i) for i in range(pooled.sizes["pair"]) if others):
        table.add_row(*_compared(row, ["all"] * len(others)))
    print_table(table)
    for line in _compared_how(runs, rows.sizes["row"], int(pooled.missing.sum())):
        console.print(line)


def _compared(row: xr.Dataset, others: Sequence[str]) -> list[str]:
    pairs, missing = int(row.pairs), int(row.missing)
    known = not math.isnan(float(row.low))
    return [
        f"{row.left.item()} − {row.right.item()}",
        *others,
        *(number(float(row[name])) for name in ("left_mean", "right_mean", "difference")),
        interval(float(row.low), float(row.high)),
        f"{pairs:,}/{pairs + missing:,}",
        ("yes" if row.excludes_zero else "no") if known else "-",
    ]


def _compared_how(runs: xr.Dataset, rows: int, missing: int) -> Iterator[str]:
    """What to know of a comparison to read it."""
    if rows > MOST_ROWS:
        yield f"({rows - MOST_ROWS:,} more rows: see `stackpop.analysis.compare`)"
    if missing:
        yield f"{count(missing, 'pair')} left out: not both runs are done, or have what is compared"
    if "seed" not in runs.sizes:
        yield "no interval: these runs have no axis seed to be repeated over"
    elif runs.sizes["seed"] == 1:
        yield "no interval: there is one seed only"
    else:
        yield f"{count(runs.sizes['seed'], 'seed')}; each row stands alone: among many, some exclude 0 by chance"
