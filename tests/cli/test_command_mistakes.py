"""One clear line for every mistake on the command line or in its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import stackpop as package
from answers import Call, check_mistake
from command import TINY, Answer, stackpop
from stackpop.store import ResultsWriter

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
