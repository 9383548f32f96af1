"""Runs in Weights & Biases: every step once, whatever was interrupted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

import command
from command import TINY
from stackpop.spec import parse_sweep
from stackpop.tracking import default_folder, ended_runs, replay
from stackpop.tracking.wandb import _fill
from tracked import FAILED, RUNS, result, write


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """wandb without its server and without the user's settings."""
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    for name in ("WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    yield
    wandb.teardown()


def wandb_files(store: Path) -> list[list[Any]]:
    """The records of every run that wandb wrote."""
    return [records(path) for path in sorted(default_folder(store).glob("wandb/*/run-*.wandb"))]


def records(path: Path) -> list[Any]:
    """The records of a .wandb file: LevelDB's log format behind seven bytes of its own."""
    data, at, whole, found = path.read_bytes(), 7, b"", []
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(whole))
            whole = b""
    return found


def history(run: list[Any]) -> list[dict[str, Any]]:
    rows = [record.history for record in run if record.WhichOneof("record_type") == "history"]
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row.item}
        | {"step": row.step.num}
        for row in rows
    ]


@pytest.mark.usefixtures("offline")
def test_wandb_has_every_run_and_step_once(store: Path) -> None:
    assert replay(store, "wandb", project="mine")["logged"] == 4
    logged = {run[0].run.run_id or _run(run).run_id: run for run in wandb_files(store)}
    runs = {run.key.id: run for run in ended_runs(store, lambda _: True)}
    assert logged.keys() == runs.keys()
    for key, run in runs.items():
        about = _run(logged[key])
        assert (about.project, about.run_group, about.display_name) == ("mine", "tiny", run.key.name)
        config = {item.key: json.loads(item.value_json) for item in about.config.update}
        assert {name: config[name] for name in run.settings} == run.settings
        rows = history(logged[key])
        assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [row["leader_return"] for row in rows[:4]] == run.curves["leader_return"].tolist()
        assert [row["post/leader_return"] for row in rows[4:]] == run.post["leader_return"].tolist()
        assert [row["post/iteration"] for row in rows[4:]] == [1, 2]
        final = summary(logged[key])
        assert final["exact/equilibrium_pure"] == run.exact["equilibrium_pure"]
        assert (final["status"], final["error"], final["worker"]) == ("done", "", "tcp://here")


def _run(run: list[Any]) -> Any:
    return next(record.run for record in run if record.WhichOneof("record_type") == "run")


def summary(run: list[Any]) -> dict[str, Any]:
    found = {}
    for record in run:
        if record.WhichOneof("record_type") == "summary":
            found |= {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.summary.update
            }
    return found


@pytest.mark.usefixtures("offline")
def test_wandb_again_repeats_nothing(tmp_path: Path) -> None:
    store = tmp_path / "tiny.zarr"
    write(store, {RUNS[0]: result(RUNS[0]), RUNS[1]: FAILED})
    assert replay(store, "wandb")["logged"] == 2
    write(store, {RUNS[1]: result(RUNS[1])})
    assert replay(store, "wandb")["logged"] == 1  # failed, and then done
    assert replay(store, "wandb")["logged"] == 0
    steps = {}
    for run in wandb_files(store):
        steps.setdefault(_run(run).run_id, []).extend(row["step"] for row in history(run))
    assert list(steps.values()) == [[1, 2, 3, 4, 5, 6]] * 2


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("text", [lambda whole: "", lambda whole: whole[:-7]], ids=["lost", "cut"])
def test_wandb_finds_what_a_killed_replay_did_not_note(store: Path, text: Callable[[str], str]) -> None:
    replay(store, "wandb")
    (ledger,) = default_folder(store).glob("wandb-stackpop.logged")
    ledger.write_text(text(ledger.read_text()))
    assert replay(store, "wandb")["logged"] == 0
    assert len(wandb_files(store)) == 4


@pytest.mark.usefixtures("offline")
def test_wandb_remembers_files_that_were_uploaded_and_cleaned_away(store: Path) -> None:
    replay(store, "wandb")
    for path in default_folder(store).glob("wandb/offline-run-*"):
        path.rename(store.parent / path.name)
    assert replay(store, "wandb")["logged"] == 0
    assert replay(store, "wandb", project="another")["logged"] == 4


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_replay_that_is_shot_while_wandb_writes_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_sweep(TINY.replace("[1, 2]", str(list(range(10)))), "tiny")
    store = tmp_path / "tiny.zarr"
    write(store, {index: result(index) for index in spec.indices()}, spec)
    ledger = default_folder(store) / "wandb-stackpop.logged"
    for name, value in os.environ.items():
        if name.startswith("WANDB_"):
            monkeypatch.setitem(command.ENVIRONMENT, name, value)
    with command.started(sys.executable, "-m", "stackpop", "track", store, "--to", "wandb") as process:
        command.until(lambda: ledger.exists() and ledger.read_text())
        process.kill()
        process.wait()
    assert 1 <= len(ledger.read_text().splitlines()) < 20
    replay(store, "wandb")
    steps = [(_run(run).run_id, tuple(row["step"] for row in history(run))) for run in wandb_files(store)]
    assert len(steps) == 20
    assert set(steps) == {(run.key.id, (1, 2, 3, 4, 5, 6)) for run in ended_runs(store, lambda _: True)}


class Resumed:
    """What a run is that the server has up to a step; offline there is none."""

    def __init__(self, starting_step: int) -> None:
        self.starting_step, self.steps, self.summary = starting_step, [], {}

    def define_metric(self, name: str, **_: object) -> None:
        pass

    def log(self, values: dict[str, float], step: int) -> None:
        self.steps.append(step)


@pytest.mark.parametrize("known", range(8))
def test_wandb_leaves_out_the_steps_that_the_server_has(store: Path, known: int) -> None:
    run = next(ended_runs(store, lambda _: True))
    resumed = Resumed(known)
    _fill(resumed, run)
    assert resumed.steps == [step for step in range(1, 7) if step >= known]
