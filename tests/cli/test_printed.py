"""What the command prints, and its exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import stackpop as package
from answers import Call, check_mistake, rows_of, write_results
from command import TINY, Answer, stackpop
from stackpop.games import LEADER, MATRICES, Game, GameBatch, parse_payoffs, table_returns
from stackpop.store import ResultsWriter

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
