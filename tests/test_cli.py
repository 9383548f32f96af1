"""The command line: what it prints, its exit codes, and one clear line for every mistake."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import stackpop as package
from command import TINY, Answer, heeds, scheduler, stackpop, started, until, worker
from stackpop import cli
from stackpop.cli import main
from stackpop.figures import KINDS
from stackpop.games import LEADER, MATRICES, Game, GameBatch, parse_payoffs, table_returns
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.store import ResultsWriter, open_results

Call = Callable[..., Answer]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Call]:
    """The command in this process, for what needs no process of its own; the current folder is `folder`."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return Answer(int(exit_.value.code or 0), *capfd.readouterr())

    yield run
    logging.disable(logging.NOTSET)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sweep file tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A folder with a finished sweep's store tiny.zarr, and what the command said."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    return folder, stackpop("sweep", "tiny.yaml", "--store", "tiny.zarr", "--workers", 1, cwd=folder)


def check_mistake(answer: Answer, *words: str, code: int = 2) -> None:
    """One clear line, no more, and the exit code."""
    lines = answer.err.splitlines()
    assert answer.code == code, answer
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]


# ---------------------------------------------------------------- what is printed


COMMANDS = ("sweep", "track", "status", "compare", "claims", "report", "plot", "export", "solve", "games")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_is_everywhere(call: Call, command: list[str]) -> None:
    answer = call(*command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: stackpop" in answer.out or "Usage: " in answer.out
    assert "--help" in answer.out


def test_no_command_lists_the_commands(call: Call) -> None:
    answer = call()
    assert answer.code == 0
    for name in COMMANDS:
        assert f" {name} " in answer.out


def test_module_and_version() -> None:
    answer = stackpop("--version")
    assert (answer.code, answer.out.split(), answer.err) == (0, ["stackpop", "0.1.0"], "")


def test_games_are_all_listed(call: Call) -> None:
    answer = call("games")
    assert answer.code == 0
    for name in MATRICES:
        assert name in answer.out


@pytest.mark.parametrize("game", ["chicken", "3,3 2,4 / 4,2 1,1", "[[[3,3],[2,4]],[[4,2],[1,1]]]"])
def test_solve_takes_a_name_or_payoffs(call: Call, game: str) -> None:
    answer = call("solve", game, "--memory", "none", "--rounds", "1", "--reward-offset", "0")
    assert answer.code == 0
    assert game in answer.out
    # Chicken: the leader commits to row 1, the follower answers 0, and the leader gets 4.
    assert answer.out.count("4.0000") >= 2
    assert "leader     always: 1" in answer.out
    assert "follower   always: 0" in answer.out


def test_solve_names_the_states(call: Call) -> None:
    answer = call("solve", "1,2 3,4 5,6 / 7,8 9,0 1,2", "--memory", "opponent", "--rounds", "2")
    leader, follower = answer.out.splitlines()[-2:]
    assert re.findall(r"(\w+): \d", leader) == ["start", "0", "1", "2"]  # the follower's actions
    assert re.findall(r"(\w+): \d", follower) == ["start", "0", "1"]  # the leader's


EXIT = "3,3 0,4 0,0 / 4,0 1,1 0,0 / 0,0 0,0 0.5,0.5"


def test_solve_a_game_whose_tables_are_too_many(call: Call) -> None:
    """3x3 with joint memory: the pure commitment is told, what is not is named, and the tables earn the value."""
    answer = call("solve", EXIT, "--rounds", "5", "--reward-offset", "0")
    assert answer.code == 0
    unknown, _, leader, follower = answer.out.splitlines()[-4:]
    assert "too many tables: optimum of the resampling protocol, behavioural commitment" in unknown
    assert "mixed" not in answer.out
    tables = (tuple(map(int, re.findall(r": (\d)", line))) for line in (leader, follower))
    game = GameBatch.of([Game(parse_payoffs(EXIT), "joint", 5, 0.0)])
    returns = table_returns(game, *(torch.tensor([table]) for table in tables))
    assert f"{returns[0, LEADER]:.4f}" == "18.0000"
    assert answer.out.count("18.0000") == 4  # whichever way ties are broken, and with no offset


def test_solve_says_what_is_too_large_to_walk_through(call: Call) -> None:
    check_mistake(call("solve", EXIT), "3x3", "to walk through", "3^10 leader tables", "fewer actions or rounds")


def test_sweep_says_what_it_does_and_ends_with_a_table(finished: tuple[Path, Answer]) -> None:
    _, answer = finished
    assert (answer.code, answer.err) == (0, "")
    assert "tiny: 4 runs (2 matrix × 2 seed)" in answer.out
    assert "0 already done, 4 to train in 4 tasks" in answer.out
    assert "4 to train, 0 reused" in answer.out
    assert "http://127.0.0.1:" in answer.out
    (row,) = [line.split() for line in answer.out.splitlines() if line.strip().startswith("battle ")]
    assert float(row[1]) == pytest.approx(3.0)  # 2 rounds of 4 - 2.5
    assert row[-1] == "2/2"
    assert answer.out.rstrip().endswith("results in tiny.zarr")


def test_finished_sweep_does_nothing_again(finished: tuple[Path, Answer], call: Call) -> None:
    folder, _ = finished
    answer = call("sweep", folder / "tiny.yaml", "--store", folder / "tiny.zarr")
    assert (answer.code, answer.err) == (0, "")
    assert "4 already done, 0 to train in 0 tasks" in answer.out
    assert "dashboard" not in answer.out


def test_status_of_a_finished_store(finished: tuple[Path, Answer], call: Call) -> None:
    answer = call("status", finished[0] / "tiny.zarr")
    assert answer.code == 0
    assert "0 pending, 0 in flight, 4 done, 0 failed of 4 (2 matrix × 2 seed)" in answer.out
    assert answer.out.splitlines()[-1].split() == ["writing", "nobody"]


def test_status_of_an_interrupted_store(call: Call, folder: Path) -> None:
    with ResultsWriter("tiny.zarr", package.load_sweep("tiny.yaml")) as writer:
        writer.leaders.mark_running((0, 0))
        running = call("status", "tiny.zarr")
        assert "writing    process" in running.out
    answer = call("status", "tiny.zarr")
    assert "4 pending, 0 in flight, 0 done" in answer.out
    assert "nobody: `stackpop sweep` with its file resumes it" in answer.out


def test_dry_run_prints_an_estimate_and_writes_nothing(call: Call, folder: Path) -> None:
    answer = call("sweep", "tiny.yaml", "--dry-run", "--runs-per-task", "auto", "--workers", 2)
    assert (answer.code, answer.err) == (0, "")
    assert "4 to train in 2 tasks" in answer.out
    assert "on 2 local workers" in answer.out
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_dry_run_of_a_store_leaves_it_alone(finished: tuple[Path, Answer], call: Call) -> None:
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    answer = call(
        "sweep", folder / "tiny.yaml", "--store", folder / "tiny.zarr", "--set", "axes.seed=[1,2,3]", "--dry-run"
    )
    assert "4 already done, 2 to train" in answer.out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_quiet_prints_nothing(folder: Path) -> None:
    answer = stackpop("sweep", "tiny.yaml", "--quiet", "--workers", 1, "--runs-per-task", "auto", cwd=folder)
    assert answer == Answer(0, "", "")
    assert (folder / "results" / "tiny.zarr").is_dir()


def write_results(spec: SweepSpec, store: Path, leader_return: Callable[[tuple[int, ...]], float]) -> None:
    """A finished store with a constant curve a run."""
    with ResultsWriter(store, spec) as writer:
        for index in np.ndindex(*(len(spec.labels[dim]) for dim in spec.game_dims)):
            writer.record_ground_truth(index, {"equilibrium_pure": 0.0})
        for index in spec.indices():
            curve = np.full(4, leader_return(index))
            names = ("leader_return", "leader_return_greedy", "equilibrium_gap")
            writer.leaders.record(index, TrainingResult(dict.fromkeys(names, curve)))


def rows_of(answer: Answer, dims: int) -> list[list[str]]:
    """The words of the final table's rows that name a game: labels of the dims, equilibrium, leader's return, …"""
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split() for line in answer.out.splitlines()]
    return [words for words in lines if set(words[:dims]) & {"chicken", "battle"}]


def test_table_has_a_row_for_each_truth_value(call: Call, folder: Path) -> None:
    text = TINY.replace("axes:\n", "axes:\n  follower.early_stop: [false, true]\n")
    (folder / "tiny.yaml").write_text(text)
    write_results(package.load_sweep("tiny.yaml"), folder / "s.zarr", lambda at: 100 * at[0] + 10 * at[1] + at[2])
    found = rows_of(call("sweep", "tiny.yaml", "--store", "s.zarr"), 2)
    returns = {"False battle": "10.50", "False chicken": "0.50", "True battle": "110.50", "True chicken": "100.50"}
    assert {" ".join(row[:2]): row[3] for row in found} == returns


def test_table_of_a_part_of_a_store_follows_the_file(call: Call, folder: Path) -> None:
    write_results(package.load_sweep("tiny.yaml"), folder / "s.zarr", lambda at: 10 * at[0] + at[1])
    answer = call("sweep", "tiny.yaml", "--store", "s.zarr", "--set", "axes.matrix=[battle, chicken]")
    assert [row[0] for row in rows_of(answer, 1)] == ["battle", "chicken"]
    answer = call("sweep", "tiny.yaml", "--store", "s.zarr", "--set", "axes.seed=[2]")
    assert [(row[0], row[2], row[-1]) for row in rows_of(answer, 1)] == [
        ("chicken", "1.00", "1/1"),
        ("battle", "11.00", "1/1"),
    ]


def test_table_of_many_rows_shows_the_first(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lrs = [k / 100 for k in range(1, 12)]
    (folder / "tiny.yaml").write_text(TINY.replace("  matrix:", f"  leader.lr: {lrs}\n  matrix:"))
    write_results(package.load_sweep("tiny.yaml"), folder / "s.zarr", lambda at: 10 * at[0] + at[1])
    monkeypatch.setattr("stackpop.display.tables.MOST_ROWS", 5)
    answer = call("sweep", "tiny.yaml", "--store", "s.zarr")
    found = [(row[0], row[1], row[3]) for row in rows_of(answer, 2)]
    assert found == [
        ("0.01", "chicken", "0.00"),
        ("0.01", "battle", "1.00"),
        ("0.02", "chicken", "10.00"),
        ("0.02", "battle", "11.00"),
        ("0.03", "chicken", "20.00"),
    ]
    assert "(17 more rows: see the store)" in answer.out


def test_huge_numbers_stay_short(call: Call, folder: Path) -> None:
    write_results(package.load_sweep("tiny.yaml"), folder / "s.zarr", lambda at: 1e30)
    assert [row[2] for row in rows_of(call("sweep", "tiny.yaml", "--store", "s.zarr"), 1)] == ["1.00e+30"] * 2
    answer = call("solve", "1e200,1 2e200,2", "--memory", "none", "--rounds", 1)
    assert max(map(len, answer.out.splitlines())) < 120
    assert "2.0000e+200" in answer.out


def test_failed_runs_end_in_one_line_and_exit_code_1(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(TINY.replace("chicken", "huge") + "payoffs: {huge: [[[1.0e+308, 1.0e+308]]]}\n")
    answer = stackpop("sweep", "sweep.yaml", "--store", "s.zarr", "--workers", 1, cwd=folder)
    check_mistake(answer, "runs", "expected 4 done, got 2 failed", "--retry-failed", code=1)
    assert answer.out.count("failed: matrix=huge, seed=") == 2
    quiet = stackpop("sweep", "sweep.yaml", "--store", "s.zarr", "--quiet", cwd=folder)
    assert (quiet.code, quiet.out) == (1, "")
    status = stackpop("status", "s.zarr", cwd=folder)
    assert (status.code, status.out.count("failed: matrix=huge")) == (0, 2)
    assert "2 done, 2 failed" in status.out


# ---------------------------------------------------------------- comparisons and claims

RATES = TINY.replace("seed: [1, 2]", "seed: [1, 2, 3, 4, 5]").replace("  matrix:", "  leader.lr: [0.1, 0.2]\n  matrix:")
CLAIMS = """\
claims:
  - text: A higher rate earns more.
    left: {variable: leader_return, leader.lr: 0.2}
    relation: greater
    right: {variable: leader_return, leader.lr: 0.1}
  - text: No game is better than chicken.
    left: {variable: leader_return, matrix: battle}
    relation: at_most
    right: {variable: leader_return, matrix: chicken}
    note: Ours differ in payoffs.
"""


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store over leader_lr, matrix and seed with known returns: 0.2 earns 1 more, battle 10 more."""
    store = tmp_path_factory.mktemp("rated") / "rated.zarr"
    spec = parse_sweep(RATES + CLAIMS, "rated")
    write_results(spec, store, lambda at: at[0] + 10 * at[1] + 100 * at[2])
    return store


def row_of(answer: Answer, *start: str) -> list[str]:
    """The words of the only row that starts with some words, without these."""
    lines = [line.split() for line in answer.out.splitlines()]
    (found,) = [words[len(start) :] for words in lines if words[: len(start)] == list(start)]
    return found


def test_compare_prints_each_setting_and_the_pool(call: Call, rated: Path) -> None:
    answer = call("compare", rated, "--over", "leader.lr")
    assert (answer.code, answer.err) == (0, "")
    pair = ["0.1", "−", "0.2"]
    assert row_of(answer, *pair, "chicken") == ["200.00", "201.00", "-1.00", "[-1.00,", "-1.00]", "5/5", "yes"]
    assert row_of(answer, *pair, "all") == ["205.00", "206.00", "-1.00", "[-1.00,", "-1.00]", "10/10", "yes"]
    assert "leader_return, mean over the last 50 updates" in answer.out
    assert "5 seeds; each row stands alone" in answer.out


def test_compare_some_runs_of_another_variable(call: Call, rated: Path) -> None:
    chosen = ["--where", "leader_lr=0.2", "--where", "seed=2", "--where", "seed=5", "--where", "seed=1"]
    answer = call("compare", rated, "--over", "matrix", "--variable", "equilibrium_gap", "--window", 1, *chosen)
    assert row_of(answer, "chicken", "−", "battle") == [
        "167.67",
        "177.67",
        "-10.00",
        "[-10.00,",
        "-10.00]",
        "3/3",
        "yes",
    ]
    assert "all" not in answer.out.split()
    one = call("compare", rated, "--over", "matrix", "--variable", "equilibrium_pure", "--where", "seed=2")
    assert row_of(one, "chicken", "−", "battle", "0.1")[-1] == "-"
    assert "no interval" in one.out
    assert "updates" not in one.out


def test_compare_counts_what_is_left_out(call: Call, folder: Path) -> None:
    spec = parse_sweep(RATES, "part")
    with ResultsWriter("part.zarr", spec) as writer:
        for index in spec.indices():
            if index != (1, 0, 2):
                writer.leaders.record(index, TrainingResult({"leader_return": np.ones(4)}))
    answer = call("compare", "part.zarr", "--over", "leader.lr")
    assert row_of(answer, "0.1", "−", "0.2", "chicken")[-2:] == ["4/5", "no"]
    assert "1 pair left out: not both runs are done" in answer.out


def test_claims_that_do_not_all_hold_end_in_exit_code_1(call: Call, rated: Path) -> None:
    answer = call("claims", rated)
    assert (answer.code, answer.err) == (1, "")
    held = row_of(answer, "A", "higher", "rate", "earns", "more.")
    assert held == ["206.00", "205.00", "1.00", "[1.00,", "1.00]", "10/10", "held"]
    assert row_of(answer, "No", "game", "is", "better", "than", "chicken.")[-2:] == ["not", "held"]
    assert "(Ours differ in payoffs.)" in answer.out


def test_claims_that_hold_end_in_exit_code_0(call: Call, folder: Path) -> None:
    spec = parse_sweep(RATES + CLAIMS.partition("  - text: No game")[0], "good")
    write_results(spec, folder / "good.zarr", lambda at: at[0])
    write_results(parse_sweep(RATES, "mute"), folder / "mute.zarr", lambda at: at[0])
    answer = call("claims", "good.zarr", "mute.zarr")
    assert answer.code == 0
    assert "mute: no claims; a sweep file lists them under `claims:`" in answer.out


def test_a_claim_may_change_on_a_finished_store_and_the_sweep_tells_its_outcome(call: Call, folder: Path) -> None:
    (folder / "rates.yaml").write_text(RATES)
    write_results(package.load_sweep("rates.yaml"), folder / "s.zarr", lambda at: at[0])
    for text, outcome in ((CLAIMS, "held"), (CLAIMS.replace("greater", "less"), "not held")):
        (folder / "rates.yaml").write_text(RATES + text)
        answer = call("sweep", "rates.yaml", "--store", "s.zarr")
        assert (answer.code, answer.err) == (0, "")
        assert "20 already done, 0 to train" in answer.out
        assert " ".join(row_of(answer, "A", "higher", "rate", "earns", "more.")[6:]) == outcome
        (first, _) = call("claims", "s.zarr").out.split("No game")
        assert first.rstrip().endswith(outcome)
    (folder / "rates.yaml").write_text(RATES)
    assert "claims" not in call("sweep", "rates.yaml", "--store", "s.zarr").out


def test_claims_of_a_store_are_those_of_its_sweep_and_of_its_runs(call: Call, folder: Path) -> None:
    """A store may hold more than the last file asked for."""
    write_results(parse_sweep(RATES + CLAIMS, "s"), folder / "s.zarr", lambda at: at[0])
    fewer = parse_sweep(RATES + CLAIMS, "s", ["axes.seed=[1, 2]"])
    with ResultsWriter("s.zarr", fewer):
        pass
    assert row_of(call("claims", "s.zarr"), "A", "higher", "rate", "earns", "more.")[5:] == [
        "4/4", "open:", "2", "of", "5", "seeds",
    ]  # fmt: skip


def test_claims_write_a_page(call: Call, rated: Path, folder: Path) -> None:
    answer = call("claims", rated, "--write", "pages/README.md")
    assert answer.code == 1
    assert answer.out.rstrip().endswith("written to pages/README.md")
    assert sorted(path.name for path in (folder / "pages").iterdir()) == ["README.md", "rated.png"]


# ---------------------------------------------------------------- figures, reports, exports


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


def test_a_mistake_of_a_comparison_or_a_page_is_one_line(call: Call, rated: Path) -> None:
    compare = ["compare", rated, "--over"]
    check_mistake(call(*compare, "leader.rl"), "over", "'leader.rl'", "did you mean 'leader_lr'?")
    check_mistake(call(*compare, "matrix", "--variable", "leader_retrun"), "variable", "did you mean 'leader_return'?")
    check_mistake(call(*compare, "matrix", "--where", "leader.lr"), "--where", "AXIS=VALUE", "leader.lr=0.008")
    check_mistake(call(*compare, "matrix", "--where", "leader.lr=3"), "where", "leader.lr", "'3'", "known: 0.1, 0.2")
    check_mistake(call(*compare, "matrix", "--where", "matrix=battle"), "over", "two values of matrix", "got one")
    check_mistake(call(*compare, "matrix", "--window", 0), "--window")
    check_mistake(call("compare", rated), "--over", "compare --help")
    check_mistake(call("compare", "none.zarr", "--over", "seed"), "none.zarr", "expected a store")
    check_mistake(call("claims"), "STORE", "claims --help")
    check_mistake(call("claims", rated, "--write", "tiny.yaml/README.md"), "a file to write", "name another")


# ---------------------------------------------------------------- mistakes

SWEEP = ["sweep", "tiny.yaml", "--store", "new.zarr"]
COMMAND_LINES = {
    "unknown option": (["sweep", "tiny.yaml", "--store-path", "x"], ["--store-path", "stackpop sweep --help"]),
    "unknown command": (["swep"], ["swep", "sweep", "stackpop --help"]),
    "no file": (["sweep"], ["FILE", "stackpop sweep --help"]),
    "workers is a word": ([*SWEEP, "--workers", "two"], ["--workers", "integer"]),
    "one store for two sweeps": (
        ["sweep", "tiny.yaml", "tiny.yaml", "--store", "both.zarr"],
        ["--store", "expected one sweep file", "got 2"],
    ),
    "no workers": ([*SWEEP, "--workers", "0"], ["workers", "expected 1 or more", "got 0", "leave it out"]),
    "runs per task": (
        [*SWEEP, "--runs-per-task", "many"],
        ["--runs-per-task", "or auto", "got 'many'", "leave it out"],
    ),
    "no runs per task": ([*SWEEP, "--runs-per-task", "0"], ["--runs-per-task", "got '0'"]),
    "negative runs per task": ([*SWEEP, "--runs-per-task=-1"], ["--runs-per-task", "got '-1'"]),
    "limit that no run can meet": (
        [*SWEEP, "--run-limit", "0"],
        ["run_limit", "expected seconds above 0", "got 0", "leave it out"],
    ),
    "two schedulers": (
        [*SWEEP, "--scheduler", "a", "--scheduler-file", "b"],
        ["scheduler", "got both", "leave one out"],
    ),
    "shaped scheduler": (
        [*SWEEP, "--scheduler", "a", "--workers", "2"],
        ["workers", "leave them or the scheduler out"],
    ),
    "missing file": (["sweep", "none.yaml"], ["none.yaml", "expected a sweep file", "no such file", "check the path"]),
    "override without value": ([*SWEEP, "--set", "leader.lr"], ["override", "key=value", "'leader.lr'"]),
    "override of nothing": ([*SWEEP, "--set", "leader.lrr=1"], ["leader.lrr", "did you mean 'lr'"]),
    "override of a wrong type": ([*SWEEP, "--set", "leader.lr=big"], ["override leader.lr=big", "a number", "'big'"]),
    "missing scheduler file": ([*SWEEP, "--scheduler-file", "s.json"], ["s.json", "no such file", "dask scheduler"]),
    "garbage scheduler file": ([*SWEEP, "--scheduler-file", "tiny.yaml"], ["tiny.yaml", "holds no address"]),
    "scheduler of no kind": ([*SWEEP, "--scheduler", "ftp://x:1"], ["scheduler", "'ftp://x:1'", "dask scheduler"]),
    "dashboard port": ([*SWEEP, "--dashboard-port", "99999"], ["dashboard port", "99999", "--dashboard-port"]),
    "scheduler without a port": ([*SWEEP, "--scheduler", "foo"], ["scheduler", "'foo'", "none answers"]),
    "scheduler at a web page": ([*SWEEP, "--scheduler", "http://1.2"], ["scheduler", "'http://1.2'", "none answers"]),
    "no store": (["status", "none.zarr"], ["none.zarr", "expected a store", "got nothing", "check the path"]),
    "not our store": (["status", "."], ["expected a Zarr store", "another --store"]),
    "store is a file": (["sweep", "tiny.yaml", "--store", "tiny.yaml"], ["tiny.yaml", "expected a folder", "--store"]),
    "store below a file": (["sweep", "tiny.yaml", "--store", "tiny.yaml/x"], ["expected a folder", "--store"]),
    "store at a URL": (["sweep", "tiny.yaml", "--store", "ftp://b/x"], ["ftp://b/x", "s3://", "another --store"]),
    "unknown game": (["solve", "chikken"], ["matrix", "'chikken'", "did you mean 'chicken'"]),
    "ragged payoffs": (["solve", "3,3 1,4 / 4,1"], ["payoffs[1]", "2 columns", "got 1"]),
    "half a cell": (["solve", "3 1,4 / 4,1 2,2"], ["payoffs[0][0]", "two numbers", "got 1"]),
    "a word in a cell": (["solve", "a,3 1,4"], ["payoffs[0][0][0]", "a number", "'a'"]),
    "no payoffs": (["solve", "[[["], ["payoffs", "nested lists"]),
    "not finite": (["solve", "nan,1 1,2"], ["payoffs[0][0][0]", "finite"]),
    "rounds": (["solve", "chicken", "--rounds", "0"], ["--rounds", "1"]),
    "memory": (["solve", "chicken", "--memory", "all"], ["--memory", "joint"]),
    "offset": (["solve", "chicken", "--reward-offset", "inf"], ["--reward-offset", "finite", "got inf", "-2.5"]),
    "overflow": (["solve", "1e308,1 1e308,2"], ["payoffs", "a finite number", "overflow in 10 rounds", "divide"]),
    "too large": (["solve", " / ".join(["1,1 2,2 3,3"] * 4)], ["expected", "at most"]),
}


@pytest.mark.parametrize(("arguments", "words"), COMMAND_LINES.values(), ids=COMMAND_LINES.keys())
def test_mistake_on_the_command_line(call: Call, folder: Path, arguments: list[str], words: list[str]) -> None:
    check_mistake(call(*arguments), *words)
    assert not (folder / "new.zarr").exists()


FILES = {
    "unknown key": ("leader: {algorithm: pg", "leader: {algorithn: pg", [":2:", "leader.algorithn", "'algorithm'"]),
    "wrong type": ("rounds: 2", "rounds: [2]", [":1:", "game.rounds", "whole number", "a list"]),
    "number as text": ("rounds: 2", 'rounds: "2"', [":1:", "game.rounds", "'2'", "without quotes"]),
    "a word": ("updates: 4, batch_steps: 20}", "updates: no, batch_steps: 20}", [":2:", "leader.updates", "'no'"]),
    "duplicate key": ("rounds: 2", "rounds: 2, rounds: 3", [":1:", "rounds"]),
    "empty axis": ("seed: [1, 2]", "seed: []", [":7:", "axes.seed", "empty list"]),
    "duplicate seed": ("seed: [1, 2]", "seed: [1, 1]", [":7:", "axes.seed[1]", "a second time", "remove it"]),
    "negative learning rate": ("algorithm: pg", "algorithm: pg, lr: -1", [":2:", "leader.lr", "above 0", "-1"]),
    "unknown game": ("chicken", "chikken", [":6:", "axes.matrix[0]", "'chikken'", "'chicken'"]),
    "ragged payoffs": ("axes:", "payoffs: {g: [[[1, 2]], [[1, 2], [3, 4]]]}\naxes:", [":5:", "g[1]", "1 column"]),
    "1-D payoffs": ("axes:", "payoffs: {g: [1, 2]}\naxes:", [":5:", "payoffs.g", "rows of cells"]),
    "NaN payoffs": ("axes:", "payoffs: {g: [[[.nan, 2]]]}\naxes:", [":5:", "payoffs.g[0][0][0]", "finite"]),
    "no YAML": ("axes:", "axes: [", [":7:", "syntax", "brackets"]),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), FILES.values(), ids=FILES.keys())
def test_mistake_in_the_file(call: Call, folder: Path, old: str, new: str, words: list[str]) -> None:
    text = TINY.replace(old, new, 1)
    assert text != TINY
    (folder / "tiny.yaml").write_text(text)
    answer = call("sweep", "tiny.yaml")
    assert answer.code == 2
    first = answer.err.splitlines()[0]
    assert first.startswith("error: tiny.yaml:")
    for word in words:
        assert word in first
    assert "Traceback" not in answer.err
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""], ids=["binary", "empty"])
def test_file_that_is_no_text(call: Call, folder: Path, content: bytes) -> None:
    (folder / "tiny.yaml").write_bytes(content)
    check_mistake(call("sweep", "tiny.yaml"), "tiny.yaml", "expected")


def test_debug_shows_the_traceback(folder: Path) -> None:
    answer = stackpop("sweep", "none.yaml", "--debug", cwd=folder)
    assert answer.code != 0
    assert "Traceback" in answer.err
    assert "SpecError" in answer.err


def test_store_of_a_newer_schema(finished: tuple[Path, Answer], call: Call, folder: Path) -> None:
    shutil.copytree(finished[0] / "tiny.zarr", "tiny.zarr")
    root = Path("tiny.zarr/zarr.json")
    document = json.loads(root.read_text())
    document["attributes"]["schema_version"] = 99
    root.write_text(json.dumps(document))
    for command in (["status", "tiny.zarr"], ["sweep", "tiny.yaml", "--store", "tiny.zarr"]):
        check_mistake(call(*command), "schema_version", "got 99", "upgrade stackpop")


def test_changed_setting_names_old_and_new(finished: tuple[Path, Answer], call: Call) -> None:
    folder, _ = finished
    answer = call("sweep", folder / "tiny.yaml", "--store", folder / "tiny.zarr", "--set", "leader.updates=5")
    check_mistake(answer, "leader.updates was 4, is now 5", "change it back", "--store")


def test_store_in_use_by_another_sweep(call: Call, folder: Path) -> None:
    with ResultsWriter("tiny.zarr", package.load_sweep("tiny.yaml")):
        answer = call("sweep", "tiny.yaml", "--store", "tiny.zarr")
    check_mistake(answer, "tiny.zarr", "no other writer", "process", "wait for it")


def test_dashboard_port_in_use(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = call("sweep", "tiny.yaml", "--dashboard-port", port)
    check_mistake(answer, "dashboard port", "a free port", str(port), "in use", "--dashboard-port")
    assert not Path("results").exists()


@pytest.fixture
def no_scheduler() -> str:
    """A loopback address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def test_nobody_at_the_address(call: Call, no_scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 1)
    answer = call("sweep", "tiny.yaml", "--store", "new.zarr", "--scheduler", no_scheduler)
    check_mistake(answer, "scheduler", no_scheduler, "none answers", "dask scheduler")
    assert not Path("new.zarr").exists()


def test_a_store_that_was_there_stays_without_a_cluster(
    finished: tuple[Path, Answer], call: Call, no_scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 1)
    shutil.copytree(finished[0] / "tiny.zarr", "tiny.zarr")
    more = ["--set", "axes.seed=[1,2,3]", "--scheduler", no_scheduler]
    check_mistake(call("sweep", "tiny.yaml", "--store", "tiny.zarr", *more), "scheduler", "none answers")
    assert (open_results("tiny.zarr").status.sel(seed=[1, 2]) == 2).all()


def test_a_stranger_at_the_address(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        begun = time.monotonic()
        answer = stackpop("sweep", "tiny.yaml", "--store", "new.zarr", "--scheduler", address, cwd=folder)
    check_mistake(answer, "scheduler", address, "none answers")
    assert time.monotonic() - begun < 25
    assert not (folder / "new.zarr").exists()


def test_a_signal_in_the_middle_of_an_import_ends_the_program(tmp_path: Path) -> None:
    """An exception there makes compiled modules abort, so none is raised."""
    (tmp_path / "slow.py").write_text("import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('raised')\n")
    code = "import signal; from stackpop import cli; signal.signal(signal.SIGTERM, cli._interrupt); import slow"
    with started(sys.executable, "-c", code, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        until(lambda: heeds(process, signal.SIGTERM))
        time.sleep(0.3)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, f"error: {cli.STOPPED}\n")
    assert not out


# ---------------------------------------------------------------- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk of its own with the given options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a disk")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_read_only_folder(call: Call, disk: Callable[[str], Path]) -> None:
    answer = call("sweep", "tiny.yaml", "--store", disk("ro") / "new.zarr")
    check_mistake(answer, "new.zarr", "a folder to write to", "ead-only", "--store")


def test_full_disk_at_the_start(call: Call, disk: Callable[[str], Path]) -> None:
    place = disk("size=16k")
    check_mistake(call("sweep", "tiny.yaml", "--store", place / "new.zarr"), "room on the disk", "free some space")


def test_full_disk_loses_nothing(folder: Path, disk: Callable[[str], Path]) -> None:
    place = disk("size=4m")
    command = ["sweep", "tiny.yaml", "--store", place / "s.zarr", "--workers", 1]
    assert stackpop(*command, cwd=folder).code == 0
    before = open_results(place / "s.zarr").load()
    filler = place / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**23))
    answer = stackpop(*command, "--set", "axes.seed=[1,2,3]", cwd=folder)
    check_mistake(answer, "room on the disk", "free some space")
    after = open_results(place / "s.zarr").load()
    assert before.drop_attrs().equals(after.sel(seed=[1, 2]).drop_attrs())
    filler.unlink()
    assert stackpop(*command, "--set", "axes.seed=[1,2,3]", cwd=folder).code == 0
    assert (open_results(place / "s.zarr").status == 2).all()


# ---------------------------------------------------------------- a scheduler that is already there


@pytest.mark.slow
def test_scheduler_without_workers_is_waited_for(folder: Path) -> None:
    with scheduler(folder) as (file, _), (folder / "out").open("w") as out:
        options = ["--scheduler-file", file, "--store", "s.zarr"]
        command = [sys.executable, "-um", "stackpop", "sweep", "tiny.yaml", *options]
        with started(*command, cwd=folder, stdout=out) as sweep:
            until(lambda: "waiting for a worker to join tcp://127.0.0.1:" in (folder / "out").read_text())
            assert sweep.poll() is None
            with worker(file, folder):
                assert sweep.wait(60) == 0
        assert "4 to train in 4 tasks" in (folder / "out").read_text()
