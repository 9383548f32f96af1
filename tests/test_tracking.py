"""Experiment trackers, replayed from a store: every step once, whatever was interrupted."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

import command
from command import TINY, Answer, stackpop
from stackpop.cli import main
from stackpop.errors import StoreError, TrackerFailedError, TrackingError
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep, stored_run
from stackpop.store import ResultsWriter, open_results
from stackpop.store.layout import label_array
from stackpop.sweep import Progress, Watcher
from stackpop.sweep.plan import make_plan
from stackpop.tracking import RunKey, Tracking, background, default_folder, ended_runs, replay
from stackpop.tracking.wandb import _fill

SPEC = parse_sweep(TINY, "tiny")
RUNS = list(SPEC.indices())
CURVES = ("leader_return", "equilibrium_gap", "entropy")


def result(index: tuple[int, ...], updates: int = 4) -> TrainingResult:
    """Curves that no other run has."""
    first = 10.0 * index[0] + index[1]
    arrays = {name: first + np.arange(updates) / 8 + k for k, name in enumerate(CURVES)}
    steps = {"env_steps": 20 * np.arange(1, updates + 1)}
    policy = {"leader_policy": np.full((updates, 3, 2), 0.5)}
    post = {"post_leader_return": first + np.array([50.0, 51.0])}
    return TrainingResult({**arrays, **steps, **policy, **post}, started=1000.0, finished=1010.0, worker="tcp://here")


FAILED = TrainingResult({}, "ValueError: no", started=1000.0, finished=1001.0)


def write(store: Path, results: dict[tuple[int, ...], TrainingResult], spec: SweepSpec = SPEC) -> None:
    with ResultsWriter(store, spec) as writer:
        for index in writer.missing_ground_truth():
            writer.record_ground_truth(index, {"equilibrium_pure": 3.0 + index[0]})
        for index, one in results.items():
            writer.leaders.record(index, one)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of four runs that are done."""
    write(tmp_path / "tiny.zarr", {index: result(index) for index in RUNS})
    return tmp_path / "tiny.zarr"


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


# ---------------------------------------------------------------- what was logged


Scalars = dict[str, list[tuple[int, float]]]  # tag -> (step, value)


def event_files(store: Path) -> dict[str, Scalars]:
    """The scalars of every event file, by its folder."""
    files = default_folder(store).rglob("events.out.tfevents.*")
    return {path.parent.name: scalars(path.parent) for path in files}


def scalars(folder: Path) -> Scalars:
    assert len(list(folder.iterdir())) == 1
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    (start,) = found.PluginTagToContent("hparams").values()
    assert b"leader.lr" in start
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


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


def check_event_files(store: Path) -> None:
    """Every run of a finished store is there, each step once, with the store's values."""
    results = open_results(store).load()
    logged = event_files(store)
    assert len(logged) == results.status.size
    for run in ended_runs(store, lambda _: True):
        found = logged[f"{run.key.name}-{run.key.id}"]
        where = {"matrix": run.settings["matrix"], "seed": run.settings["seed"]}
        for name, values in results.sel(where).data_vars.items():
            if values.dims == ("iteration",) and values.notnull().any() and not (values == -1).any():
                assert [step for step, _ in found[str(name)]] == list(range(1, values.size + 1))
                assert [value for _, value in found[str(name)]] == values.values.tolist()
            elif values.dims == ("post_iteration",) and values.notnull().any():
                tag = str(name).replace("post_", "post/", 1)
                assert found[tag] == list(enumerate(values.values.tolist(), start=1))
        assert found["exact/equilibrium_pure"] == [(results.sizes["iteration"], results.sel(where).equilibrium_pure)]


# ---------------------------------------------------------------- runs


SWEEPS = [
    TINY,
    "axes: {matrix: [chicken], leader.lr: [1, 0.5], game.memory: [none, joint], follower.early_stop: [true, false]}",
    "leader: {lr: 0.5}\naxes: {leader.algorithm: [pg, ppo], follower.oracle: [exact, contextual], seed: [3]}\n"
    "matrix: mine\npayoffs: {mine: [[[1, 2], [3, 4]]]}",
    "matrix: chicken\ncommitment: replay\nleader: {algorithm: ppo, value_clip: 10}",
]


@pytest.mark.parametrize("text", SWEEPS)
def test_runs_are_made_again_from_what_a_store_holds(text: str) -> None:
    spec = parse_sweep(text, "any")
    settings = json.loads(json.dumps(dict(spec.fixed)))
    labels = {dim: label_array(values).tolist() for dim, values in spec.labels.items()}
    for index in spec.indices():
        at = {dim: labels[dim][k] for dim, k in zip(spec.dims, index, strict=True)}
        assert stored_run(settings, at) == spec.run(index)


def test_runs_that_only_earlier_sweeps_had_are_there_too(tmp_path: Path) -> None:
    mine = "payoffs: {mine: [[[1, 2], [3, 4]]]}\n"
    for axes in ("matrix: [mine], seed: [1]", "matrix: [chicken], seed: [2]"):
        spec = parse_sweep((mine if "mine" in axes else "") + f"leader: {{updates: 4}}\naxes: {{{axes}}}", "any")
        write(tmp_path / "any.zarr", {(0, 0): FAILED}, spec)
    runs = list(ended_runs(tmp_path / "any.zarr", lambda _: True))
    assert [(run.settings["matrix"], run.settings["seed"]) for run in runs] == [("mine", 1), ("chicken", 2)]


def test_ids_are_stable_and_no_two_stores_share_them(tmp_path: Path) -> None:
    def ids(name: str) -> list[str]:
        return [run.key.id for run in ended_runs(tmp_path / name, lambda _: True)]

    for name in ("one.zarr", "two.zarr"):
        write(tmp_path / name, {(0, 0): result((0, 0))})
    before = ids("one.zarr")
    longer = parse_sweep(TINY.replace("[1, 2]", "[1, 2, 3]"), "tiny")
    write(tmp_path / "one.zarr", {(1, 2): result((1, 2))}, longer)
    assert ids("one.zarr")[:1] == before
    assert len({*ids("one.zarr"), *ids("two.zarr")}) == 3


# ---------------------------------------------------------------- TensorBoard


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A real sweep, tracked while it ran."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.yaml").write_text(TINY)
    options = ("--store", "tiny.zarr", "--workers", 1, "--track", "tensorboard")
    return folder, stackpop("sweep", "tiny.yaml", *options, cwd=folder)


def test_a_sweep_is_in_tensorboard_as_it_is_in_the_store(swept: tuple[Path, Answer]) -> None:
    folder, answer = swept
    assert (answer.code, answer.err) == (0, "")
    assert "tracked: 4 runs logged now, 0 before, in tensorboard" in answer.out
    check_event_files(folder / "tiny.zarr")


def test_half_a_store_then_the_rest(tmp_path: Path) -> None:
    store = tmp_path / "tiny.zarr"
    write(store, {RUNS[0]: result(RUNS[0]), RUNS[1]: FAILED})
    assert replay(store, "tensorboard")["logged"] == 2
    done, failed = sorted(event_files(store), key=lambda name: name.endswith("-failed"))
    (first,) = default_folder(store).rglob(f"{done}/events*")
    before = first.stat().st_mtime_ns
    assert event_files(store)[failed] == {}

    write(store, {index: result(index) for index in RUNS[1:]})
    found = replay(store, "tensorboard")
    assert (found["logged"], found["before"]) == (3, 1)
    check_event_files(store)
    assert first.stat().st_mtime_ns == before
    assert replay(store, "tensorboard")["logged"] == 0


def test_a_replay_that_is_killed_goes_on(store: Path) -> None:
    def stop_at_third(_: RunKey) -> None:
        seen.append(_)
        if len(seen) == 3:
            raise KeyboardInterrupt

    seen: list[RunKey] = []
    with pytest.raises(KeyboardInterrupt):
        replay(store, "tensorboard", before_each=stop_at_third)
    half = default_folder(store) / ".tensorboard.new"
    half.mkdir()
    (half / "events.out.tfevents.0.stackpop").write_bytes(b"half an event")
    assert replay(store, "tensorboard")["logged"] == 2
    check_event_files(store)


def test_two_replays_at_once_are_refused(store: Path) -> None:
    folder = default_folder(store)
    folder.mkdir()
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TrackingError, match="another `stackpop track`"):
            replay(store, "tensorboard")


# ---------------------------------------------------------------- Weights & Biases


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
        command.until(ledger.exists)
        process.kill()
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


# ---------------------------------------------------------------- what goes wrong


def test_a_tracker_that_fails_costs_a_sweep_one_line(
    swept: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = swept
    monkeypatch.setitem(command.ENVIRONMENT, "WANDB_API_KEY", "short")
    answer = stackpop("sweep", "tiny.yaml", "--store", "tiny.zarr", cwd=folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("warning: tracking: tracker wandb") == 1
    assert "`stackpop track tiny.zarr --to wandb`" in answer.out.splitlines()[-1]


def test_faults_of_a_tracker_are_one_line(store: Path) -> None:
    default_folder(store).mkdir()
    (default_folder(store) / "tensorboard").write_text("in the way")
    with pytest.raises(TrackerFailedError, match="expected an answer, got NotADirectoryError") as found:
        replay(store, "tensorboard")
    assert "\n" not in str(found.value)


@pytest.mark.slow
def test_a_tracker_that_hangs_is_given_up(store: Path) -> None:
    code = f"""
import time
import stackpop.cli
from stackpop.tracking.tensorboard import TensorBoard
stackpop.cli.TRACKER_SECONDS = 1
TensorBoard.log = lambda *_: time.sleep(600)
stackpop.cli.main(["track", {str(store)!r}, "--to", "tensorboard"])
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], env=command.ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: tracker tensorboard: no answer for 1 s")
    assert answer.stderr.count("\n") == 1


def test_a_missing_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    (store.parent / "tiny.yaml").write_text(TINY)
    new = str(store.parent / "new.zarr")
    for command_line in (["sweep", str(store.parent / "tiny.yaml"), "--store", new, "--track"], ["track", new, "--to"]):
        with pytest.raises(TrackingError, match=r"wandb: expected the package .* pip install 'stackpop\[track\]'"):
            main(["--debug", *command_line, "wandb"])
    assert not Path(new).exists()


def test_what_is_no_store_gets_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, got nothing"):
        replay(tmp_path / "nothing.zarr", "tensorboard")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- beside a sweep


def test_without_track_no_tracker_is_imported(swept: tuple[Path, Answer]) -> None:
    code = """
import sys
from stackpop.cli import main
try:
    main(["sweep", "tiny.yaml", "--store", "tiny.zarr", "--quiet"])
finally:
    print(*{"wandb", "tensorboard"} & {name.split(".")[0] for name in sys.modules}, "stackpop.tracking" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=swept[0], env=command.ENVIRONMENT, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == ["True"]


class Listener(Watcher):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def progress() -> Progress:
    plan = make_plan(SPEC, np.zeros(SPEC.shape), None, retry_failed=False, runs_per_task=1, threads=1)
    return Progress(plan, done=1, failed=0, finished_now=1)


def test_a_replay_runs_beside_a_sweep_that_does_not_wait(
    store: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    listener = Listener()
    with Tracking(str(store), "tensorboard") as tracking:
        tracking.telling(listener)
        started = time.monotonic()
        tracking.report(progress)
        assert time.monotonic() - started < 0.5
        command.until(lambda: len(list(default_folder(store).rglob("events*"))) == 4)
        assert "0 runs logged now, 4 before" in tracking.finish()
    assert listener.warnings == []


def test_a_sweep_that_ends_early_takes_the_replay_with_it(
    store: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    mine = psutil.Process()
    with Tracking(str(store), "tensorboard") as tracking:
        tracking.report(progress)
        (child,) = [one for one in mine.children() if "track" in command.command_line(one).split()]
    assert not child.is_running()


def test_failures_are_told_once_and_end_quietly(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    listener = Listener()
    with Tracking(str(tmp_path / "nothing.zarr"), "tensorboard") as tracking:
        tracking.telling(listener).report(progress)
        assert tracking.finish() == ""
        assert tracking.finish() == ""
    (line,) = listener.warnings
    assert "expected a store, got nothing" in line
