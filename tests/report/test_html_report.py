"""The report of a sweep: one file that holds everything, of finished, running and broken sweeps alike."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from stackpop.errors import StackpopError, StoreError
from stackpop.report import report_page, write_report
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter, open_results
from support import trained_store

SWEEP = """\
description: Rates & <b>games</b>.
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 0}
evaluation_episodes: 2
axes:
  matrix: [chicken, battle]
  leader.lr: [0.1, 0.2]
  seed: [1, 2]
claims:
  - text: One </script> or the other.
    left: {variable: leader_return, leader.lr: 0.2}
    relation: greater
    right: {variable: leader_return, leader.lr: 0.1}
"""
MOST_BYTES = 3e6
OUTSIDE = re.compile(r"""<(?:script|link|img|iframe|object)[^>]*(?:src|href|data)\s*=\s*["'](?!data:)""")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_store(tmp_path_factory.mktemp("report") / "rates.zarr", parse_sweep(SWEEP, "rates"))


@pytest.fixture(scope="module")
def page(store: Path) -> str:
    return report_page(str(store))


def text_of(page: str) -> str:
    """What a reader sees, without scripts and tags."""
    shown = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", shown).split())


def test_the_report_is_one_file_that_names_no_other_and_is_small_enough_to_mail(page: str) -> None:
    assert not OUTSIDE.search(page)
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert len(page) < MOST_BYTES
    assert page.count("BOKEH_VERSION") <= 2  # its scripts once, however many figures


def test_the_report_tells_what_was_run_and_how_to_do_it_again(page: str, store: Path) -> None:
    text, attrs = text_of(page), open_results(store).attrs
    assert "rates – stackpop" in page
    assert "8 runs: 8 done" in text
    for name in ("stackpop", "torch", "xarray"):
        assert f"{name} {attrs[f'{name}_version']}" in text
    assert "stackpop sweep rates.yaml" in text
    assert "batch_steps: 20" in text
    assert (attrs.get("git_revision") or attrs["source_hash"]) in text
    assert f"written on {attrs['machine']}" in text
    assert f"{platform.machine()}, " in attrs["machine"]


def test_the_report_has_each_figure_with_its_data(page: str) -> None:
    headings = re.findall("<h3>(.*?)</h3>", page)
    assert headings == [
        "Leader returns",
        "Gaps",
        "Time to convergence",
        "Both players&#39; returns",
        "Leader policies",
        "Follower regret in pretraining",
        "What leader.lr makes of it",
    ]
    assert page.count("Bokeh.embed.embed_item(") == len(headings)
    assert "not drawn" not in text_of(page)


@pytest.mark.parametrize("other", ["none", "fails", "says nothing"])
def test_the_report_is_whole_without_the_second_process(
    page: str, store: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other == "none":
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
    else:
        monkeypatch.setattr(sys, "executable", shutil.which("false" if other == "fails" else "true"))
    alone = report_page(str(store))
    headings = [re.findall("<h3>(.*?)</h3>", each) for each in (page, alone)]
    assert headings[0] == headings[1]
    assert alone.count("Bokeh.embed.embed_item(") == len(headings[1])
    places = re.findall(r'<div id="([a-z]+-\d)">', alone)
    assert len(set(places)) == len(headings[1])


def test_figures_are_drawn_by_two_processes(page: str) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("on one core there is one process")
    places = re.findall(r'<div id="([a-z]+)-\d">', page)
    assert {name: places.count(name) for name in places} == {"figure": 4, "other": 3}


def test_the_report_has_the_claims_and_the_table(page: str) -> None:
    assert "leader_return [leader.lr=0.2] &gt; leader_return [leader.lr=0.1]" in page
    assert "open: 2 of 5 seeds" in page
    rows = re.findall(r'<tr><td class="word">(chicken|battle)</td><td class="word">([\d.]+)</td>', page)
    assert rows == [(game, rate) for game in ("chicken", "battle") for rate in ("0.1", "0.2")]


def test_all_names_are_escaped(page: str) -> None:
    assert "Rates &amp; &lt;b&gt;games&lt;/b&gt;." in page
    assert "One &lt;/script&gt; or the other." in page
    assert page.count("<script>") == page.count("</script>")


def test_a_running_sweep_has_a_report_with_its_failures(tmp_path: Path) -> None:
    spec = parse_sweep(SWEEP, "rates")
    error = "ValueError: <script>alert(1)</script>"
    with ResultsWriter(tmp_path / "r.zarr", spec) as writer:
        page = report_page(str(tmp_path / "r.zarr"))
        assert "8 runs: 8 pending, being written now" in text_of(page)
        assert "not drawn. results: expected a run that is done, got none" in text_of(page)
        writer.leaders.record((0, 0, 0), TrainingResult({"leader_return": np.ones(4, dtype=np.float32)}))
        writer.leaders.record((0, 0, 1), TrainingResult({}, error, 1.0, 1.0, 2.0))
        writer.flush()
        page = report_page(str(tmp_path / "r.zarr"))
    assert "8 runs: 6 pending, 1 done, 1 failed, being written now" in text_of(page)
    assert "matrix=chicken, leader_lr=0.1, seed=2" in page
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert error not in page
    assert "<h3>Leader returns</h3>" in page


@pytest.mark.parametrize(
    "axes",
    ["", "axes: {seed: [1, 2]}", "axes: {leader.lr: [0.1, 0.2]}", "axes: {hidden_queries: [true, false], seed: [1]}"],
)
def test_a_sweep_of_any_axes_has_a_report(tmp_path: Path, axes: str) -> None:
    start = SWEEP.split("axes:")[0]
    write_report(
        str(trained_store(tmp_path / "a.zarr", parse_sweep(f"{start}matrix: chicken\n{axes}", "a"))),
        tmp_path / "a.html",
    )
    page = (tmp_path / "a.html").read_text()
    assert "The sweep file makes no claim" in page
    assert "<h3>Leader returns</h3>" in page


def test_a_search_has_a_report(tmp_path: Path) -> None:
    text = "matrix: chicken\nsearch: {method: random, trials: 2, space: {leader.lr: {low: 0.1, high: 0.2}}}\n"
    spec = parse_sweep(f"{SWEEP.split('axes:')[0]}{text}axes: {{seed: [1, 2]}}", "tried")
    with ResultsWriter(tmp_path / "t.zarr", spec) as writer:
        for index in spec.indices():
            writer.leaders.record(index, TrainingResult({"leader_return_sampled": np.ones(4, dtype=np.float32)}))
    page = report_page(str(tmp_path / "t.zarr"))
    assert "Trials, the best first" in page
    assert "What the search tried" in page


def test_mistakes_are_one_sentence(tmp_path: Path, store: Path) -> None:
    with pytest.raises(StoreError):
        report_page(str(tmp_path / "none.zarr"))
    (tmp_path / "file").touch()
    with pytest.raises(StackpopError, match=r"expected a file to write, got .*; name another"):
        write_report(str(store), tmp_path / "file" / "a.html")
