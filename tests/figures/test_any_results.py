"""Figures of whatever results there are, and the files that they are written to."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import panels
from stackpop import figures
from stackpop.errors import StackpopError
from stackpop.figures import (
    Request,
    comparison,
    convergence_times,
    draw,
    gap_map,
    leader_policy,
    learning_curves,
    payoff_plane,
    save,
)
from stackpop.store import Status

KINDS = sorted(set(figures.KINDS) - {"search"})

PARTS = {
    "one seed": lambda results: results.isel(seed=[0]),
    "one seed alone": lambda results: results.isel(seed=0),
    "one matrix": lambda results: results.isel(matrix=0),
    "one run": lambda results: results.isel(matrix=0, seed=0, leader_lr=0),
    "only failed": lambda results: results.assign(status=results.status * 0 + Status.FAILED),
    "not a number": lambda results: results.assign(
        {name: values * np.nan for name, values in results.data_vars.items() if values.dtype.kind == "f"}
    ),
    "one run is no number": lambda results: results.assign(
        {
            name: values.where((results.seed == 1) | (results.matrix == "battle"))
            for name, values in results.data_vars.items()
            if values.dtype.kind == "f"
        }
    ),
}
DRAWINGS = {
    "curves": learning_curves,
    "gap": gap_map,
    "convergence": convergence_times,
    "policy": leader_policy,
    "plane": payoff_plane,
    "compare": lambda results: comparison(results, "leader.lr"),
}

WITHOUT_FIGURE = [
    ("compare", "one run"), ("compare", "not a number"), ("curves", "not a number"), ("gap", "not a number"),
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", DRAWINGS)
def test_any_results_give_a_figure_or_one_sentence(results: xr.Dataset, tmp_path: Path, kind: str, part: str) -> None:
    chosen = PARTS[part](results)
    if part == "only failed" or (kind, part) in WITHOUT_FIGURE:
        with pytest.raises(StackpopError, match=r"^[^\n]*expected [^\n]*, got [^\n]*$"):
            DRAWINGS[kind](chosen)
    else:
        save(DRAWINGS[kind](chosen), tmp_path / "figure.html")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_of_a_store(store: Path, tmp_path: Path, kind: str) -> None:
    figure = draw(kind, Request(str(store), "leader.lr" if kind in ("compare", "gap") else None))
    save(figure, tmp_path / "new" / "figure.html")
    page = (tmp_path / "new" / "figure.html").read_text()
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "embed_item" in page


def test_requests_choose_runs(store: Path) -> None:
    assert len(panels(draw("curves", Request(str(store), where={"leader.lr": ["0.2"]})))) == 2
    assert len(panels(draw("regret", Request(str(store), where={"leader.lr": ["0.2"], "matrix": ["battle"]})))) == 1
    with pytest.raises(StackpopError, match="KIND: expected a figure, got 'curve'; did you mean 'curves'"):
        draw("curve", Request(str(store)))
    with pytest.raises(StackpopError, match=r"--over: expected an axis, got none; for instance --over leader\.lr"):
        draw("compare", Request(str(store)))
    with pytest.raises(StackpopError, match="expected the dim trial, got matrix, leader_lr, seed"):
        draw("search", Request(str(store)))


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_save_writes_the_format_of_the_ending(store: Path, tmp_path: Path, ending: str, start: bytes) -> None:
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file in files:
        save(draw("gap", Request(str(store))), file)
    assert files[0].read_bytes().startswith(start)


def test_files_that_cannot_be_written_are_one_sentence(
    results: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = gap_map(results)
    with pytest.raises(StackpopError, match=r"ends in .html, .png or .svg, got '.*a.pdf'"):
        save(figure, tmp_path / "a.pdf")
    (tmp_path / "file").touch()
    with pytest.raises(StackpopError, match="expected a file to write, got"):
        save(figure, tmp_path / "file" / "a.html")
    monkeypatch.setattr("stackpop.figures.style.has_matplotlib", lambda: False)
    with pytest.raises(StackpopError, match=r"Matplotlib for .png, got none; pip install 'stackpop\[plots\]'"):
        save(figure, tmp_path / "a.png")


def test_names_are_escaped(results: xr.Dataset, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    one = results.isel(matrix=[0]).assign_coords(matrix=[evil]).assign_attrs(name=evil)
    save(learning_curves(one), tmp_path / "a.html")
    assert evil not in (tmp_path / "a.html").read_text()
