"""A Markdown page on finished sweeps: what each was made to show, whether it does, and how its results were made."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr

from stackpop.analysis import Findings, Outcome
from stackpop.errors import StackpopError, explain
from stackpop.report.tables import (
    VERSIONS,
    Table,
    claim_numbers,
    claim_outcome,
    code,
    returns_table,
    times,
    trials_table,
)
from stackpop.spec.search import TRIAL
from stackpop.store import Status

_INTRODUCTION = """\
# What the sweeps show

Each section is made from the store that its sweep wrote, by `stackpop claims STORE... --write FILE`. A claim is a
sentence of the sweep file with a test: left minus right, paired over all runs that differ in nothing else, averaged for
each seed, with a 95 % bootstrap interval over seeds. *Open* means that runs or seeds are missing. `trial=best` is, for
each seed, the trial of a search that did best on all the other seeds. *Steps* are the environment steps, in thousands,
until the gap stays within 1 % of the span of returns: the mean over the runs that converged, the follower's learning
games and its pretraining included.
"""


def write_page(findings: Sequence[Findings], file: Path) -> None:
    """Write a Markdown page, and beside it a figure NAME.png of each sweep, if the extra `plots` is installed.

    Raises:
        StackpopError: the place cannot be written to.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sections = ["\n".join(_section(found, _figure(found, file.parent))) for found in findings]
        file.write_text("\n".join([_INTRODUCTION, *sections]), encoding="utf-8")
    except OSError as error:
        got = str(error.strerror or error).lower()
        raise StackpopError(explain(str(file), expected="a file to write", got=got, remedy="name another")) from error


def _section(found: Findings, figure: str) -> Iterator[str]:
    """The parts of a sweep's section, with a blank line after each."""
    name = found.spec.name
    yield f"## {name}\n"
    if found.spec.description:
        yield f"{_inert(found.spec.description)}\n"
    yield f"```sh\nstackpop sweep sweeps/{name}.yaml --runs-per-task auto\n```\n"
    yield f"{_provenance(found.results)}\n"
    if found.outcomes:
        yield _claims_table(found.outcomes)
    search = found.spec.search
    yield _written(returns_table(found.results) if search is None else trials_table(search, found.results))
    if figure:
        shown = "Leader return over updates" if search is None else "Objective of each trial by what it tried"
        yield f"![{shown}]({figure})\n"


def _provenance(results: xr.Dataset) -> str:
    """How many runs, when, how long, and by which code."""
    done = (results.status == Status.DONE).values
    parts = [f"{int(done.sum()):,} of {done.size:,} runs done", *times(results)]
    parts += [f"{name} {results.attrs[f'{name}_version']}" for name in VERSIONS]
    parts += [f"{kind} `{value}`" for kind, value in code(results)]
    return ", ".join(parts) + "."


def _claims_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for found in outcomes:
        note = f"<br>*{_inert(found.claim.note)}*" if found.claim.note else ""
        text = f"{_inert(found.claim.text)}<br>`{found.claim.test}`{note}"
        rows.append([text, *claim_numbers(found), f"**{claim_outcome(found)}**"])
    return _table(["claim", "left", "right", "difference", "pairs", "outcome"], rows, ":----:")


def _written(table: Table) -> str:
    sides = ":" * table.words + "-" * (len(table.titles) - table.words)
    text = _table(table.titles, table.rows, sides)
    return f"{text}\n{table.note}\n" if table.note else text


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """A Markdown table; `sides` has ":" for a column of words and "-" for one of numbers."""
    rules = [":---" if side == ":" else "---:" for side in sides]
    cells = [titles, rules, *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _inert(text: str) -> str:
    """A file's own words: whatever shows Markdown takes tags for HTML."""
    return html.escape(text, quote=False)


def _figure(found: Findings, folder: Path) -> str:
    """Draw learning curves or a search into the folder; the file's name, or nothing where they cannot be drawn."""
    drawing = _drawing(found) if find_spec("matplotlib") else None
    if drawing is None:
        return ""
    from stackpop import figures

    name = f"{found.spec.name}.png"
    figures.save(drawing, os.path.join(folder, name))
    return name


def _drawing(found: Findings) -> Any:
    """The figure of a sweep; None where too little is done, or panels would be too many."""
    from stackpop import figures

    results, search = found.results, found.spec.search
    done = results.status == Status.DONE
    if search is not None:
        whole = done.all([dim for dim in done.dims if dim != TRIAL]).any()
        settings = search.settings
        return (
            figures.searched_values(results, settings.objective, settings.window, search_start(found))
            if whole
            else None
        )
    dims = [str(dim) for dim in done.dims if dim != "seed"]
    if math.prod(results.sizes[dim] for dim in dims) > figures.MOST_PANELS or not done.any():
        return None
    return figures.learning_curves(results)


def search_start(found: Findings) -> dict[str, float]:
    """What a search started with, to compare what it found with: searched setting, named as its coordinate -> value."""
    start = found.spec.search.start[:1] if found.spec.search else ()
    return {name.replace(".", "_"): float(value) for values in start for name, value in values.items()}
