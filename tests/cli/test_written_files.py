"""Figures, reports and exports that the command writes."""

from __future__ import annotations

from pathlib import Path

from answers import Call, check_mistake
from stackpop.figures import KINDS


def test_help_lists_every_kind_of_figure(call: Call) -> None:
    text = " ".join(call("plot", "--help").out.replace("│", " ").split())
    for kind in KINDS:
        assert f"{kind} (" in text, kind


def test_a_figure_a_report_and_a_table_of_a_store(call: Call, rated: Path, folder: Path) -> None:
    answer = call("plot", "compare", rated, "--over", "leader.lr", "--where", "matrix=battle", "-o", "new/a.html")
    assert (answer.code, answer.err, answer.out) == (0, "", "written to new/a.html\n")
    assert "leader.lr=0.1 against leader.lr=0.2, 5 pairs of runs" in (folder / "new/a.html").read_text()
    assert call("report", rated).out == "written to rated.html\n"
    assert "<title>rated – stackpop</title>" in (folder / "rated.html").read_text()
    assert call("export", rated, "--format", "csv").out == "written to rated.csv\n"
    assert len((folder / "rated.csv").read_text().splitlines()) == 21


def test_a_mistake_of_a_figure_a_report_or_an_export_is_one_line(call: Call, rated: Path) -> None:
    check_mistake(call("plot", "curve", rated, "-o", "a.html"), "KIND", "'curve'", "did you mean 'curves'?")
    check_mistake(call("plot", "curves", rated, "-o", "a.pdf"), "output", ".html, .png or .svg")
    check_mistake(call("plot", "curves", rated), "--output", "plot --help")
    check_mistake(call("plot", "curves", "none.zarr", "-o", "a.html"), "none.zarr", "expected a store")
    check_mistake(call("plot", "compare", rated, "-o", "a.html"), "--over", "leader.lr")
    check_mistake(call("plot", "regret", rated, "-o", "a.html"), "a run that is done", "got none")
    check_mistake(call("report", "none.zarr"), "none.zarr", "expected a store")
    check_mistake(call("report", rated, "-o", "tiny.yaml/a.html"), "a file to write", "name another")
    check_mistake(call("export", rated, "--format", "xlsx"), "xlsx", "export --help")
    check_mistake(call("export", "none.zarr", "--format", "csv"), "none.zarr", "expected a store")
