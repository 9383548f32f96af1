"""A page on finished sweeps: what each was made to show, whether it does, and how its results were made."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stackpop.analysis import Findings, Outcome, best_trials, steps_to_equilibrium, summary
from stackpop.display.text import MOST_ROWS, duration, interval, leading, number
from stackpop.errors import StackpopError, explain
from stackpop.spec.search import TRIAL
from stackpop.store import Status

if TYPE_CHECKING:
    from stackpop.spec.search import SearchSpec

MOST_PANELS = 24  # of a figure
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
    yield _returns_table(found.results) if search is None else _trials_table(search, found.results)
    if figure:
        shown = "Leader return over updates" if search is None else "Objective of each trial by what it tried"
        yield f"![{shown}]({figure})\n"


def _provenance(results: xr.Dataset) -> str:
    """How many runs, when, how long, and by which code."""
    done = (results.status == Status.DONE).values
    parts = [f"{int(done.sum()):,} of {done.size:,} runs done"]
    begun, ended = results.started.values[done], results.finished.values[done]
    if not np.isnat(begun).all() and not np.isnat(ended).all():
        first, last = np.nanmin(begun), np.nanmax(ended)
        parts.append(f"{_moment(first)} to {_moment(last)} UTC ({duration((last - first) / np.timedelta64(1, 's'))})")
        parts.append(f"{duration(float(results.wall_seconds.values[done].sum()))} of work, all workers together")
    parts += [f"{name} {results.attrs[f'{name}_version']}" for name in ("stackpop", "torch", "python")]
    revision = results.attrs.get("git_revision")
    parts.append(f"revision `{revision}`" if revision else f"source `{results.attrs['source_hash']}`")
    return ", ".join(parts) + "."


def _moment(time: Any) -> str:
    return str(np.datetime_as_string(time, unit="m")).replace("T", " ")


def _claims_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for found in outcomes:
        note = f"<br>*{_inert(found.claim.note)}*" if found.claim.note else ""
        text = f"{_inert(found.claim.text)}<br>`{found.claim.test}`{note}"
        difference = _with_interval(found.difference, found.low, found.high)
        outcome = f"{found.status}: {found.reason}" if found.reason else found.status
        pairs = f"{found.pairs:,}" + (f" of {found.pairs + found.missing:,}" if found.missing else "")
        numbers = [number(found.left), number(found.right), difference, pairs]
        rows.append([text, *numbers, f"**{outcome}**"])
    return _table(["claim", "left", "right", "difference", "pairs", "outcome"], rows, ":----:")


def _returns_table(results: xr.Dataset) -> str:
    """Returns at the end by setting: `stackpop.analysis.summary`, shortened."""
    sizes = {str(dim): size for dim, size in results.status.sizes.items() if dim != "seed"}
    dims, total = list(sizes), math.prod(sizes.values())
    shown = min(total, MOST_ROWS)
    part = results.isel(leading(sizes, shown))
    steps = steps_to_equilibrium(part).load()
    rows = summary(part).assign(steps=steps.mean("seed") if "seed" in steps.dims else steps)
    stacked = rows.stack(row=dims) if dims else rows.expand_dims("row")
    table = []
    for row in (stacked.isel(row=i) for i in range(shown)):
        leader = _with_interval(float(row.leader_return), float(row.low), float(row.high))
        values = [number(float(row[name])) for name in ("equilibrium", "greedy_return")]
        counts = [f"{int(row[name])}/{int(row.runs)}" for name in ("converged", "done")]
        if math.isnan(row.equilibrium):
            counts[0] = "-"
        thousands = number(float(row.steps) / 1000, 0)
        labels = [str(row[dim].item()) for dim in dims]
        table.append([*labels, values[0], leader, values[1], counts[0], thousands, counts[1]])
    titles = ["equilibrium", "leader return", "greedy return", "converged", "steps", "done"]
    text = _table([*dims, *titles], table, ":" * len(dims) + "------")
    return f"{text}\n({total - shown:,} more rows: see the store)\n" if total > shown else text


def _trials_table(search: SearchSpec, results: xr.Dataset) -> str:
    """What a search tried, the best first: `stackpop.analysis.best_trials`."""
    rows = best_trials(results, search.settings.objective, search.settings.window)
    searched = [str(name) for name, values in rows.coords.items() if values.dims == ("trial",) and name != "trial"]
    table = []
    for row in (rows.isel(trial=i) for i in range(min(rows.sizes["trial"], MOST_ROWS))):
        tried = [f"{float(row[name]):.4g}" for name in searched]
        objective = _with_interval(float(row.objective), float(row.low), float(row.high))
        table.append([str(row.trial.item()), *tried, objective, f"{int(row.done)}/{int(row.runs)}"])
    titles = ["trial", *searched, f"{search.settings.objective} at the end", "done"]
    return _table(titles, table, "-" * len(titles))


def _with_interval(value: float, low: float, high: float) -> str:
    return number(value) if math.isnan(low) else f"{number(value)} {interval(low, high)}"


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
    from stackpop import plots

    name = f"{found.spec.name}.png"
    plots.save(drawing, os.path.join(folder, name))
    return name


def _drawing(found: Findings) -> Any:
    """The figure of a sweep; None where too little is done, or panels would be too many."""
    from stackpop import plots

    results, search = found.results, found.spec.search
    done = results.status == Status.DONE
    if search is not None:
        whole = done.all([dim for dim in done.dims if dim != TRIAL]).any()
        start = {name.replace(".", "_"): float(value) for values in search.start[:1] for name, value in values.items()}
        settings = search.settings
        return plots.searched_values(results, settings.objective, settings.window, start) if whole else None
    dims = [str(dim) for dim in done.dims if dim != "seed"]
    if math.prod(results.sizes[dim] for dim in dims) > MOST_PANELS or not done.any():
        return None
    return plots.learning_curves(_by_panel(results, dims))


def _by_panel(results: xr.Dataset, dims: Sequence[str]) -> xr.Dataset:
    """The curves with all swept dims but the seed made into one, `matrix`, whose labels name the setting."""
    curves = results.reset_coords()[["leader_return", "leader_return_greedy", "equilibrium_pure"]]
    curves = curves.set_coords("equilibrium_pure")  # which need not be over all dims
    curves = curves if "seed" in curves.dims else curves.expand_dims("seed")
    words = [[_word(dim, label) for label in results[dim].values.tolist()] for dim in dims]
    labels = ["\n".join(parts) for parts in product(*words)]
    panels = curves.stack(panel=dims, create_index=False) if dims else curves.expand_dims("panel")
    return panels.drop_vars(dims).rename(panel="matrix").assign_coords(matrix=labels)


def _word(dim: str, label: object) -> str:
    """A label as a title has it; a bare number or truth value would not say of what."""
    return label if isinstance(label, str) else f"{dim}={label}"
