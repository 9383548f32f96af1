"""The page of what sweeps show: its numbers are those of the stores, and its Markdown is sound."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stackpop.analysis import Findings, read_findings
from stackpop.report.markdown import write_page
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter

SWEEP = """\
description: Two rates in two games.
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 3, batch_steps: 20}
follower: {oracle: exact}
axes:
  matrix: [chicken, battle]
  leader.lr: [0.1, 0.2]
  seed: [1, 2, 3, 4, 5]
claims:
  - text: One rate | or the other.
    left: {variable: leader_return, leader.lr: 0.2}
    relation: greater
    right: {variable: leader_return, leader.lr: 0.1}
    note: As published.
  - text: A second return.
    left: {variable: leader_return, at: 4}
    relation: at_least
    right: 1
"""
BEGUN = 1_700_000_000  # 2023-11-14 22:13:20 UTC


def made(store: Path, text: str = SWEEP, left_out: int = 0) -> Findings:
    """What a store says in which every run took 30 s, one after the other, and a higher rate earns 2 more."""
    spec = parse_sweep(text, store.stem)
    with ResultsWriter(store, spec) as writer:
        for index in np.ndindex(*(len(spec.labels[dim]) for dim in spec.game_dims)):
            writer.record_ground_truth(index, {"equilibrium_pure": 3.0})
        for number, index in list(enumerate(spec.indices()))[left_out:]:
            curve = np.full(3, 2.0 * index[1] if len(index) > 1 else 1.0)
            arrays = dict.fromkeys(("leader_return", "leader_return_greedy", "equilibrium_gap"), curve)
            begun = BEGUN + 30 * number
            writer.leaders.record(index, TrainingResult(arrays, "", 30.0, begun, begun + 30))
    return read_findings(store)


def rows(page: str) -> list[list[str]]:
    """The cells of the lines of all tables."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |")) for line in lines]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    write_page([made(folder / "rates.zarr"), made(folder / "part.zarr", left_out=3)], folder / "README.md")
    assert (folder / "rates.png").read_bytes().startswith(b"\x89PNG")
    return (folder / "README.md").read_text()


def test_each_sweep_has_a_section_with_its_command(page: str) -> None:
    assert re.findall(r"^#+ .*", page, re.MULTILINE) == ["# What the sweeps show", "## rates", "## part"]
    for name in ("rates", "part"):
        assert f"```sh\nstackpop sweep sweeps/{name}.yaml --runs-per-task auto\n```" in page
        assert f"![Leader return over updates]({name}.png)" in page
    assert page.count("\nTwo rates in two games.\n") == 2


def test_a_section_says_when_and_how_the_runs_were_made(page: str) -> None:
    whole, part = (line for line in page.splitlines() if "runs done" in line)
    assert "20 of 20 runs done, 2023-11-14 22:13 to 2023-11-14 22:23 UTC (10:00), 10:00 of work" in whole
    assert "17 of 20 runs done, 2023-11-14 22:14 to 2023-11-14 22:23 UTC (8:30), 8:30 of work" in part
    assert re.search(r"stackpop \S+, torch \S+, python 3\.\S+, (revision|source) `[0-9a-f]+(-dirty)?`\.$", whole)


def test_claims_stand_with_their_numbers_test_and_note(page: str) -> None:
    held, late, *_ = [row for row in rows(page) if "<br>" in row[0]]
    text = "One rate \\| or the other.<br>`leader_return [leader.lr=0.2] > leader_return [leader.lr=0.1]`"
    assert held == [f"{text}<br>*As published.*", "2.00", "0.00", "2.00 [2.00, 2.00]", "10", "**held**"]
    assert late[1:] == ["-", "-", "-", "0 of 20", "**open: 20 of 20 pairs not done**"]


def test_returns_stand_by_setting(page: str) -> None:
    found = [row for row in rows(page) if row[0] in ("chicken", "battle")]
    assert found[3] == ["battle", "0.2", "3.00", "2.00 [2.00, 2.00]", "2.00", "0/5", "-", "5/5"]
    assert found[4][-1] == "2/5"
    assert len(found) == 8


def test_every_row_of_a_table_has_its_columns(page: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(row) for row in rows(table)}) == 1


@pytest.mark.parametrize(
    "axes", ["", "axes: {seed: [1, 2]}", "axes: {leader.lr: [0.1, 0.2]}", "axes: {game.rounds: [1, 2], seed: [1]}"]
)
def test_a_sweep_of_any_axes_has_a_page(tmp_path: Path, axes: str) -> None:
    text = f"follower: {{oracle: exact}}\nleader: {{updates: 3}}\nmatrix: chicken\n{axes}"
    write_page([made(tmp_path / "s.zarr", text)], tmp_path / "README.md")
    assert (tmp_path / "s.png").exists()
    assert "claim |" not in (tmp_path / "README.md").read_text()


def test_without_any_run_or_plots_there_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "README.md"
    write_page([made(tmp_path / "none.zarr", left_out=20)], file)
    assert "0 of 20 runs done, stackpop" in file.read_text()
    monkeypatch.setattr(
        "stackpop.report.markdown.find_spec", lambda name: None if name == "matplotlib" else find_spec(name)
    )
    write_page([made(tmp_path / "plain.zarr")], file)
    assert "![" not in file.read_text()
    assert not list(tmp_path.glob("*.png"))


def test_a_large_sweep_has_the_first_rows_and_no_figure(tmp_path: Path) -> None:
    rates = [k / 100 for k in range(1, 71)]
    text = (
        f"follower: {{oracle: exact}}\nleader: {{updates: 3}}\nmatrix: chicken\naxes: {{leader.lr: {rates}, seed: [1]}}"
    )
    write_page([made(tmp_path / "s.zarr", text)], tmp_path / "README.md")
    page = (tmp_path / "README.md").read_text()
    assert len(rows(page)) == 2 + 60
    assert "(10 more rows: see the store)" in page
    assert "![" not in page
