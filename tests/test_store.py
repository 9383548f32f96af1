"""The result store: what is written comes back, grows without moving, and survives kills, full disks and rivals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import stackpop
from stackpop.equilibria import ground_truth
from stackpop.errors import StoreError
from stackpop.games import MATRICES, Game, parse_payoffs
from stackpop.provenance import source_hash
from stackpop.results import TrainingResult
from stackpop.spec import TRAINED_ORACLES, RunSpec
from stackpop.spec.sections import SECTIONS
from stackpop.store import ResultsWriter, Status, bytes_per_run, open_results, read_progress, read_statuses
from stackpop.store.layout import block_shape, chunk_length
from stackpop.store.lock import lock_path
from stackpop.store.schema import FOLLOWER_VARIABLES, GROUND_TRUTH, LEADER_VARIABLES

GAMES = ("chicken", "prisoners_dilemma", "stag_hunt")
LEADER_SIZES = {"iteration": 4, "post_iteration": 2, "state": 5, "action": 2}
FOLLOWER_SIZES = {"iteration": 6, "context": 3, "state": 2, "action": 3, "parameter": 7}


@dataclass(frozen=True)
class Sweep:
    """The part of a sweep that the store reads."""

    labels: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: {"matrix": GAMES, "seed": (1, 2)})
    fixed: Mapping[str, Any] = field(default_factory=lambda: {"game.memory": "joint", "leader.lr": 0.008})
    leader_sizes: Mapping[str, int] = field(default_factory=lambda: LEADER_SIZES)
    follower_sizes: Mapping[str, int] = field(default_factory=lambda: FOLLOWER_SIZES)
    searched: tuple[str, ...] = ()
    name: str = "toy"
    text: str = "name: toy\n"

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.labels.values())

    @property
    def game_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.dims if dim == "matrix")

    @property
    def follower_dims(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.dims if dim in ("matrix", "seed", "follower_oracle"))


def leader_result(seed: int, sizes: Mapping[str, int] = LEADER_SIZES, error: str = "") -> TrainingResult:
    """A result with different values in every array, as a function of `seed`."""
    rng = np.random.default_rng(seed)
    arrays = {
        variable.name: rng.normal(size=[sizes[dim] for dim in variable.dims]).astype("float32")
        for variable in LEADER_VARIABLES
    }
    arrays["env_steps"] = np.arange(1, sizes["iteration"] + 1) * (seed + 1)
    return TrainingResult(
        arrays, error, wall_seconds=1.5, started=1_700_000_000.7, finished=1_700_000_002.0, worker=f"w{seed}"
    )


def follower_result(seed: int) -> TrainingResult:
    rng = np.random.default_rng(seed)
    sizes = {"follower_iteration": 6, "context": 3, "follower_state": 2, "follower_action": 3, "follower_parameter": 7}
    arrays = {v.name: rng.normal(size=[sizes[dim] for dim in v.dims]).astype(v.dtype) for v in FOLLOWER_VARIABLES}
    arrays["updates"] = np.array(seed)
    return TrainingResult(arrays, worker="w")


def fill(path: Path | str, sweep: Sweep) -> None:
    """Record every run of a sweep with `leader_result(run number)`."""
    with ResultsWriter(path, sweep) as writer:
        for number, index in enumerate(np.ndindex(sweep.shape)):
            writer.leaders.record(index, leader_result(number))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "toy.zarr"


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- what is written comes back -------------------------------------------------------------------------------------

run_shapes = st.lists(st.integers(1, 5), min_size=0, max_size=3)


@st.composite
def recorded_sweeps(draw: st.DrawFn) -> tuple[Sweep, list[tuple[tuple[int, ...], TrainingResult, bool]]]:
    """A sweep of random shape, and results in random order, each with whether to flush after it."""
    shape = draw(run_shapes)
    sizes = {dim: draw(st.integers(0 if dim == "post_iteration" else 1, 4)) for dim in LEADER_SIZES}
    dims = ("matrix", "seed", "leader_lr")[: len(shape)]
    labels = {dim: tuple(range(size)) for dim, size in zip(dims, shape, strict=True)}
    records = []
    for index in draw(st.permutations(list(np.ndindex(*shape)))):
        result = TrainingResult(
            draw(random_arrays(sizes)),
            draw(st.one_of(st.just(""), st.text(max_size=20))),
            wall_seconds=draw(st.floats(0, 1e6, width=32)),
            worker=draw(st.text(max_size=5)),
            attempts=draw(st.integers(1, 9)),
        )
        records.append((index, result, draw(st.booleans())))
    return Sweep(labels=labels, leader_sizes=sizes), records


@st.composite
def random_arrays(draw: st.DrawFn, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Some of the arrays, each as large as the store's dims or smaller, with NaNs and infinities."""
    arrays = {}
    for name in draw(st.sets(st.sampled_from(["leader_return", "post_follower_regret", "leader_policy", "env_steps"]))):
        variable = next(v for v in LEADER_VARIABLES if v.name == name)
        shape = tuple(draw(st.integers(0, sizes[dim])) for dim in variable.dims)
        elements = st.integers(0, 2**40) if variable.dtype == "int64" else st.floats(width=32)
        arrays[name] = draw(npst.arrays(variable.dtype, shape, elements=elements))
    return arrays


@given(recorded_sweeps())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_recorded_in_any_order_comes_back(
    case: tuple[Sweep, list[tuple[tuple[int, ...], TrainingResult, bool]]],
) -> None:
    sweep, records = case
    with tempfile.TemporaryDirectory() as folder:
        with ResultsWriter(Path(folder) / "s.zarr", sweep) as writer:
            for index, result, flush in records:
                writer.leaders.record(index, result)
                if flush:
                    writer.flush()
        ds = xr.open_zarr(Path(folder) / "s.zarr").load()
    for index, result, _ in records:
        run = ds.isel(dict(zip(sweep.dims, index, strict=True)))
        assert int(run.status) == (Status.FAILED if result.error else Status.DONE)
        assert run.error.item() == result.error
        assert run.worker.item() == result.worker
        assert int(run.attempts) == result.attempts
        assert run.wall_seconds.item() == np.float32(result.wall_seconds)
        for variable in LEADER_VARIABLES:
            check_padded(run[variable.name].values, result.arrays.get(variable.name), variable.fill)


def check_padded(found: np.ndarray, given: np.ndarray | None, fill: object) -> None:
    """`found` starts with `given` and holds nothing but the fill value elsewhere."""
    expected = np.full(found.shape, fill, found.dtype)
    if given is not None:
        expected[tuple(map(slice, given.shape))] = given
    np.testing.assert_array_equal(found, expected)


def test_the_writer_reads_back_the_exact_bits(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.followers is not None
        writer.followers.record((2, 1), follower_result(7))
        writer.flush()
        found = writer.followers.read((2, 1))
        with pytest.raises(StoreError, match=r"run \(0, 0\): expected a run that is done, got pending"):
            writer.followers.read((0, 0))
    for name, values in follower_result(7).arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype or name in ("updates", "env_steps")


def test_a_retried_run_leaves_nothing_of_the_first_attempt(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 0), leader_result(1, error="overflow"))
        writer.flush()
        writer.leaders.record((0, 0), TrainingResult({"entropy": np.ones(1, "float32")}))
    run = open_results(store).isel(matrix=0, seed=0).load()
    assert run.error.item() == ""
    assert np.isnan(run.leader_return).all()
    assert run.entropy.values.tolist()[0] == 1.0


def test_results_that_come_fast_are_not_kept_until_a_slow_flush_is_due(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pauses as long as flushes take, and flushes as long as results were kept: nothing would bound either."""
    monkeypatch.setattr(stackpop.store.writer, "_FLUSH_SECONDS", 1e9)
    monkeypatch.setattr(stackpop.store.writer, "_MOST_BUFFERED", 800_000)
    large = 10_000  # updates of a run: a result of 80 kB
    sweep = Sweep(labels={"matrix": GAMES, "seed": tuple(range(20))}, leader_sizes={**LEADER_SIZES, "iteration": large})
    with ResultsWriter(store, sweep) as writer:
        flushed = []
        for seed in range(20):
            writer.leaders.record((0, seed), TrainingResult({"entropy": np.ones(large)}))
            flushed.append(writer.maybe_flush())
    assert [run for run, was in enumerate(flushed, 1) if was] == [10, 20]


def test_an_undecodable_error_text_does_not_stop_the_store(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 0), TrainingResult({}, error="no file \udce9"))
    assert open_results(store).error[0, 0].values.item() == "no file \\udce9"


def test_values_beyond_float32_become_infinite(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 0), TrainingResult({"entropy": np.full(4, 1e300)}))
    assert np.isinf(open_results(store).entropy[0, 0]).all()


def test_a_result_that_does_not_fit_is_refused_at_once(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        with pytest.raises(StoreError, match=r"leader_retrun: expected one of"):
            writer.leaders.record((0, 0), TrainingResult({"leader_retrun": np.zeros(4)}))
        with pytest.raises(StoreError, match=r"entropy: expected a shape of at most \(4,\), got \(5,\)"):
            writer.leaders.record((0, 0), TrainingResult({"entropy": np.zeros(5)}))


def test_status_follows_the_life_of_a_run(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.mark_running((0, 0))
        writer.leaders.mark_running((0, 1))
        writer.flush()
        counts = read_progress(store).leaders.counts
        assert (counts[Status.RUNNING], counts[Status.PENDING]) == (2, 4)
        writer.leaders.record((0, 0), leader_result(0))
        assert writer.leaders.status[0, 0] == Status.RUNNING, "not on disk yet"
        writer.flush()
        assert writer.leaders.status[0, 0] == Status.DONE
    assert open_results(store).status.values[0].tolist() == [Status.DONE, Status.PENDING]


# --- ground truth ---------------------------------------------------------------------------------------------------


def test_ground_truth_is_asked_for_once(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.missing_ground_truth() == [(0,), (1,), (2,)]
        writer.record_ground_truth((1,), {"equilibrium_pure": 30.0, "leader_return_min": 0.0})
        with pytest.raises(StoreError, match="did you mean 'equilibrium_pure'"):
            writer.record_ground_truth((1,), {"equilibrium_pur": 30.0})
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.missing_ground_truth() == [(0,), (2,)]
    assert float(open_results(store).equilibrium_pure.sel(matrix="prisoners_dilemma")) == 30.0


def test_the_ground_truth_of_a_game_whose_returns_overflow_is_known(store: Path) -> None:
    truth = ground_truth(Game(parse_payoffs("1e308,1 0,0 / 0,0 1,1"), "none", 10, 0.0))
    names = {variable.name: variable.name.removeprefix("equilibrium_") for variable in GROUND_TRUTH}
    with ResultsWriter(store, Sweep()) as writer:
        writer.record_ground_truth((1,), {name: getattr(truth, of) for name, of in names.items()})
        writer.flush()
        assert writer.missing_ground_truth() == [(0,), (2,)]
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.missing_ground_truth() == [(0,), (2,)]
    ds = open_results(store).load()
    assert np.isnan(ds.equilibrium_pure[1])
    assert (ds.leader_return_min[1], ds.leader_return_max[1]) == (-np.inf, np.inf)


def test_a_sweep_without_axes_is_one_run(store: Path) -> None:
    with ResultsWriter(store, Sweep(labels={})) as writer:
        assert writer.missing_ground_truth() == [()]
        writer.record_ground_truth((), {"equilibrium_pure": 1.0})
        writer.leaders.record((), leader_result(3))
        writer.flush()
        assert writer.leaders.status.item() == Status.DONE
    ds = open_results(store)
    assert ds.entropy.dims == ("iteration",)
    assert ds.equilibrium_pure.item() == 1.0


def test_statuses_can_be_planned_without_touching_anything(store: Path) -> None:
    leaders, followers = read_statuses(store, Sweep())
    assert (leaders == Status.PENDING).all()
    assert followers is not None
    assert followers.shape == (3, 2)
    fill(store, Sweep())
    leaders, _ = read_statuses(store, Sweep(labels={"matrix": ("hero", "stag_hunt"), "seed": (3, 2)}))
    assert leaders.tolist() == [[Status.PENDING, Status.PENDING], [Status.PENDING, Status.DONE]]
    assert read_statuses(store, Sweep(follower_sizes={}))[1] is None
    assert open_results(store).sizes["seed"] == 2
    with pytest.raises(StoreError, match=r"leader\.lr was 0\.008, is now nothing"):
        read_statuses(store, Sweep(fixed={"game.memory": "joint"}))


def test_the_size_of_a_run_is_that_of_its_variables() -> None:
    leader, _ = bytes_per_run(Sweep())
    assert leader == 9 * 4 * 4 + 8 * 4 + 4 * 5 * 2 * 4 + 5 * 2 * 4 + (4 + 2 + 8 + 8 + 1)
    assert bytes_per_run(Sweep(follower_sizes={}))[1] == 0


# --- extension ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        {"matrix": (*GAMES, "hero"), "seed": (1, 2)},
        {"matrix": GAMES, "seed": (1, 2, *range(3, 200))},
        {"matrix": ("hero", *reversed(GAMES)), "seed": (7, 2, 1)},
        {"matrix": ("hero",), "seed": (9,)},
    ],
)
def test_new_labels_are_appended_and_old_runs_stay(store: Path, labels: dict[str, tuple[Any, ...]]) -> None:
    fill(store, Sweep())
    before = open_results(store).load()
    sweep = Sweep(labels=labels)
    with ResultsWriter(store, sweep) as writer:
        for index in np.ndindex(sweep.shape):
            known = labels["matrix"][index[0]] in GAMES and labels["seed"][index[1]] in (1, 2)
            assert writer.leaders.status[index] == (Status.DONE if known else Status.PENDING)
        last = tuple(size - 1 for size in sweep.shape)
        writer.leaders.record(last, leader_result(99))
    after = open_results(store).load()
    names = {dim: values[-1] for dim, values in labels.items()}
    np.testing.assert_array_equal(after.sel(names).leader_policy, leader_result(99).arrays["leader_policy"])
    untouched = before.entropy.where(~((before.matrix == names["matrix"]) & (before.seed == names["seed"])))
    for dim in ("matrix", "seed"):
        assert after[dim].values[: len(before[dim])].tolist() == before[dim].values.tolist()
    both = after.entropy.reindex_like(before)
    assert ((both == untouched) | untouched.isnull()).all()
    assert xr.open_datatree(store, engine="zarr").followers.sizes["seed"] == after.sizes["seed"]


@pytest.mark.parametrize("dim", LEADER_SIZES)
def test_inner_dims_grow(store: Path, dim: str) -> None:
    fill(store, Sweep())
    larger = {**LEADER_SIZES, dim: 21}
    with ResultsWriter(store, Sweep(leader_sizes=larger)) as writer:
        writer.leaders.record((0, 0), leader_result(50, larger))
    ds = open_results(store).load()
    assert ds.sizes[dim] == 21
    np.testing.assert_array_equal(ds.leader_policy[0, 0], leader_result(50, larger).arrays["leader_policy"])
    for variable in LEADER_VARIABLES:
        check_padded(ds[variable.name][2, 1].values, leader_result(5).arrays[variable.name], variable.fill)
    with ResultsWriter(store, Sweep()):
        assert open_results(store).sizes[dim] == 21, "a smaller sweep takes nothing away"


def test_an_extended_store_has_the_chunks_of_a_fresh_one(store: Path) -> None:
    small = {"iteration": 260, "post_iteration": 40, "state": 1, "action": 2}
    large = {"iteration": 500, "post_iteration": 64, "state": 5, "action": 3}
    few, many = Sweep(leader_sizes=small), Sweep(leader_sizes=large)
    for sweep, path in ((few, store), (many, store), (many, store.with_name("fresh.zarr"))):
        with ResultsWriter(path, sweep) as writer:
            writer.leaders.record((0, 0), leader_result(1, sweep.leader_sizes))
    files = [sum(found.is_file() for found in path.rglob("*")) for path in (store, store.with_name("fresh.zarr"))]
    assert files[0] == files[1]


@pytest.mark.parametrize("updates", [4, 50, 500, 5000])
def test_a_chunk_holds_64_runs_of_long_curves_and_more_of_short_ones(store: Path, updates: int) -> None:
    with ResultsWriter(store, Sweep(leader_sizes={**LEADER_SIZES, "iteration": updates})):
        pass
    runs = {4: 1024, 50: 512, 500: 64, 5000: 64}[updates]
    chunks = open_results(store).entropy.encoding["chunks"]
    assert np.prod(chunks) == 64 * 512
    assert np.prod(chunks[:-1]) == runs


def test_a_store_of_short_curves_takes_long_ones(store: Path) -> None:
    for updates in (4, 600):
        sweep = Sweep(leader_sizes={**LEADER_SIZES, "iteration": updates})
        with ResultsWriter(store, sweep) as writer:
            writer.leaders.record((0, 0), leader_result(1, sweep.leader_sizes))
    ds = open_results(store)
    expected = leader_result(1, sweep.leader_sizes)
    np.testing.assert_array_equal(ds.entropy[0, 0], expected.arrays["entropy"].astype("float32"))


def test_chunks_leave_room_for_usual_sizes_and_split_long_curves() -> None:
    for dim in ("iteration", "post_iteration", "follower_iteration"):
        assert [chunk_length(dim, size) for size in (0, 2, 33, 500, 5000)] == [32, 32, 64, 512, 512]
    assert [chunk_length("state", size) for size in (1, 5, 10)] == [8, 8, 16]
    assert [chunk_length("context", size) for size in (2, 32, 81)] == [32, 32, 128]


def test_followers_are_added_when_a_sweep_begins_to_train_them(store: Path) -> None:
    with ResultsWriter(store, Sweep(follower_sizes={**FOLLOWER_SIZES, "iteration": 0})) as writer:
        assert writer.followers is None
    with pytest.raises(StoreError, match="expected a group 'followers', got none"):
        open_results(store, "followers")
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.followers is not None
        writer.followers.record((0, 1), follower_result(3))
    logits = open_results(store, "followers").follower_logits[0, 1]
    np.testing.assert_array_equal(logits, follower_result(3).arrays["follower_logits"])


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_extension_does_not_show(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, Sweep())
    before = open_results(store).load()
    longer = Sweep(labels={"matrix": GAMES, "seed": (1, 2, 3, 4)})
    with monkeypatch.context() as patch:
        patch.setattr("stackpop.store.writer.commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ResultsWriter(store, longer)
    xr.testing.assert_identical(xr.open_zarr(store).load(), before)
    with ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": (1, 2, 8)})):
        pass
    tree = xr.open_datatree(store, engine="zarr")
    assert tree.seed.values.tolist() == tree.followers.seed.values.tolist() == [1, 2, 8]


def test_games_of_the_file_may_come_but_not_change(store: Path) -> None:
    own = {"payoffs.mine": [[[1, 2]]]}
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint"})):
        pass
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint", **own})):
        pass
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint"})):
        pass
    with pytest.raises(StoreError, match=r"payoffs.mine was \[\[\[1, 2\]\]\], is now \[\[\[1, 3\]\]\]"):
        ResultsWriter(store, Sweep(fixed={"game.memory": "joint", "payoffs.mine": [[[1, 3]]]}))


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_changed_setting_is_refused_with_every_difference(store: Path) -> None:
    fill(store, Sweep())
    changed = Sweep(fixed={"game.memory": "none", "leader.lr": 0.01, "leader.clip": 0.3})
    with pytest.raises(StoreError) as caught:
        ResultsWriter(store, changed)
    message = str(caught.value)
    assert 'game.memory was "joint", is now "none"' in message
    assert "leader.lr was 0.008, is now 0.01" in message
    assert "leader.clip was nothing, is now 0.3" in message
    assert "--store" in message
    assert "\n" not in message
    fill(store, Sweep())  # and the refusal let the lock go


def test_other_axes_are_refused(store: Path) -> None:
    fill(store, Sweep())
    with pytest.raises(StoreError, match=r"axes of the leaders were \['matrix', 'seed'\], are now \['matrix'\]"):
        ResultsWriter(store, Sweep(labels={"matrix": GAMES}))


def test_labels_of_another_type_are_refused(store: Path) -> None:
    fill(store, Sweep())
    with pytest.raises(StoreError, match=r"axis seed: expected labels like the stored ones \(1, 2\), got 'a'"):
        ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": ("a",)}))


def test_a_newer_schema_is_refused(store: Path) -> None:
    fill(store, Sweep())
    root = store / "zarr.json"
    document = json.loads(root.read_text())
    document["attributes"]["schema_version"] = 99
    root.write_text(json.dumps(document))
    for use in (open_results, read_progress, lambda path: ResultsWriter(path, Sweep())):
        with pytest.raises(StoreError, match=r"schema_version: expected at most 1, got 99; .*upgrade stackpop"):
            use(store)


def make_other_zarr(path: Path) -> None:
    zarr.create_group(path)


def make_other_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("keep me")


def make_file(path: Path) -> None:
    path.write_text("keep me")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_other_zarr, "expected a stackpop store, got a Zarr store that stackpop did not write"),
        (make_other_folder, "expected a Zarr store, got a folder without"),
        (make_file, "expected a folder, got a file"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(store: Path, make: Any, message: str) -> None:
    make(store)
    for use in (open_results, read_progress, lambda path: ResultsWriter(path, Sweep())):
        with pytest.raises(StoreError, match=message):
            use(store)
    assert [p.name for p in store.parent.iterdir()] == [store.name]


def test_a_missing_store_cannot_be_read(store: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, got nothing"):
        open_results(store)


def test_a_file_in_the_place_of_the_parent_folder(store: Path) -> None:
    store.write_text("keep me")
    with pytest.raises(StoreError, match="expected a folder, got a file at"):
        ResultsWriter(store / "x.zarr", Sweep())


def test_an_empty_folder_becomes_a_store(store: Path) -> None:
    store.mkdir()
    fill(store, Sweep())
    assert read_progress(store).leaders.counts[Status.DONE] == 6


# --- one writer -----------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_holds_the_store(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        with pytest.raises(StoreError, match=rf"expected no other writer, got process {os.getpid()} on .* since 20"):
            ResultsWriter(store.parent / "." / "toy.zarr", Sweep())
        writer.leaders.record((0, 0), leader_result(0))
        found = read_progress(store).writer
        assert found is not None
        assert found.pid == os.getpid()
    assert read_progress(store).writer is None
    assert not lock_path(store).exists()


def test_progress_lists_failed_runs_with_their_labels(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 1), TrainingResult({}, error="overflow in payoffs"))
        writer.leaders.record((1, 0), leader_result(1))
    progress = read_progress(store)
    assert progress.name == "toy"
    assert progress.leaders.sizes == {"matrix": 3, "seed": 2}
    assert progress.leaders.total == 6
    (failure,) = progress.leaders.failures
    assert failure.labels == {"matrix": "chicken", "seed": 2}
    assert failure.error == "overflow in payoffs"
    assert progress.followers is not None
    assert progress.followers.counts[Status.PENDING] == 6


@pytest.mark.parametrize("dims", [("follower_oracle", "seed"), ("seed", "follower_oracle")])
def test_progress_leaves_out_followers_that_are_never_trained(store: Path, dims: tuple[str, ...]) -> None:
    labels: dict[str, tuple[Any, ...]] = {"follower_oracle": ("exact", "contextual"), "seed": (1, 2, 3)}
    with ResultsWriter(store, Sweep(labels={dim: labels[dim] for dim in dims})) as writer:
        assert writer.followers is not None
        for seed in (0, 1):
            at = {"follower_oracle": 1, "seed": seed}
            writer.followers.record(tuple(at[dim] for dim in dims), follower_result(seed))
    followers = read_progress(store).followers
    assert followers is not None
    assert followers.sizes == {"follower_oracle": 1, "seed": 3}
    assert (followers.counts[Status.DONE], followers.counts[Status.PENDING]) == (2, 1)
    assert read_progress(store).leaders.total == 6


def test_the_trained_oracles_are_those_that_need_a_training() -> None:
    kinds = {oracle: model() for oracle, model in SECTIONS["follower"].kinds.items()}
    run = RunSpec(matrix="chicken", payoffs=MATRICES["chicken"])
    trained = {o for o, settings in kinds.items() if run.model_copy(update={"follower": settings}).follower_spec()}
    assert trained == TRAINED_ORACLES


# --- kills, full disks, read-only folders ---------------------------------------------------------------------------

WIDE = Sweep(labels={"matrix": GAMES, "seed": tuple(range(60))})

VICTIM = """
import sys
from tests.test_store import WIDE, leader_result, follower_result
import numpy as np
from stackpop.store import ResultsWriter, Status
writer = ResultsWriter(sys.argv[1], WIDE)
print("open", flush=True)
for number, index in enumerate(np.ndindex(WIDE.shape)):
    if writer.leaders.status[index] == Status.PENDING:
        writer.leaders.mark_running(index)
        writer.followers.record(index, follower_result(number))
        writer.leaders.record(index, leader_result(number))
        if number % 4 == 0:
            writer.flush()
"""


def test_a_kill_at_any_instant_loses_only_runs_in_flight(store: Path) -> None:
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(8):
        kill_python(VICTIM, store, seconds=rng.uniform(0, 0.25))
        now = check_intact(store)
        assert now >= done
        done = now
    assert done > 0
    with ResultsWriter(store, WIDE) as writer:
        assert not (writer.leaders.status == Status.RUNNING).any()
    assert not list(store.rglob("*.partial"))


def test_a_kill_while_the_store_is_made_leaves_none_or_a_whole_one(store: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        kill_python("import stackpop.store; print(1, flush=True)" + VICTIM, store, seconds=rng.uniform(0, 0.4))
        if store.exists():
            check_intact(store)
    with ResultsWriter(store, WIDE):
        assert sorted(p.name for p in store.parent.iterdir()) == ["toy.zarr", "toy.zarr.lock"]


def kill_python(code: str, *args: object, seconds: float) -> None:
    """Run code in a process of its own and kill it some time after its first line of output."""
    command = [sys.executable, "-c", code, *map(str, args)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        victim.stdout.readline()
        time.sleep(seconds)
        victim.send_signal(signal.SIGKILL)


def check_intact(store: Path | str) -> int:
    """Every run reported done holds exactly what was recorded; returns how many there are."""
    leaders, followers = (open_results(store, group).load() for group in (None, "followers"))
    for ds, make, variables in (
        (leaders, leader_result, LEADER_VARIABLES),
        (followers, follower_result, FOLLOWER_VARIABLES),
    ):
        for index in np.argwhere(ds.status.values == Status.DONE):
            arrays = make(int(np.ravel_multi_index(tuple(index), WIDE.shape))).arrays
            for variable in variables:
                found = ds[variable.name].values[tuple(index)]
                np.testing.assert_array_equal(found, arrays[variable.name].astype(variable.dtype))
    return int((leaders.status == Status.DONE).sum())


def test_labels_and_documents_are_on_the_disk_before_and_after_the_commit(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, Sweep())
    synced: list[str] = []
    fsync, replace_file = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store))
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        synced.append(f"-> {os.path.relpath(target, store)}")
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    with ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": (1, 2, 3)})):
        pass
    commit = synced.index("-> zarr.json")
    before, after = synced[:commit], synced[commit:]
    assert {"zarr.json.partial", "seed/c/0", "followers/seed/c/0", "followers"} <= set(before)
    assert after[1] == "."


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount(["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(arguments: list[str]) -> None:
    answer = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"mounting is not permitted here: {answer.stderr.strip()}")


def test_a_full_disk_keeps_what_was_recorded_and_goes_on_when_there_is_room(mounted: Path) -> None:
    store = mounted / "toy.zarr"
    with ResultsWriter(store, WIDE) as writer:
        writer.leaders.record((0, 0), leader_result(0))
        writer.flush()
        ballast = mounted / "ballast"
        write_until_full(ballast)
        for number, index in enumerate(np.ndindex(WIDE.shape)):
            writer.leaders.record(index, leader_result(number))
        with pytest.raises(StoreError, match="expected room on the disk, got 'No space left on device'; free some"):
            writer.flush()
        assert (writer.leaders.status == Status.DONE).sum() == 1
        assert read_progress(store).leaders.counts[Status.DONE] == 1
        ballast.unlink()
    assert read_progress(store).leaders.counts[Status.DONE] == 180
    np.testing.assert_array_equal(open_results(store).entropy[1, 5], leader_result(65).arrays["entropy"])


def test_a_store_that_does_not_fit_on_the_disk_is_not_begun(mounted: Path) -> None:
    write_until_full(mounted / "ballast")
    with pytest.raises(StoreError, match="No space left"):
        ResultsWriter(mounted / "toy.zarr", Sweep())
    (mounted / "ballast").unlink()
    fill(mounted / "toy.zarr", Sweep())


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_read_only_folder_is_named_with_the_remedy_and_can_be_read(mounted: Path) -> None:
    store = mounted / "toy.zarr"
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 0), leader_result(0))
    mount(["-o", "remount,ro", str(mounted)])
    for path in (store, mounted / "new.zarr"):
        with pytest.raises(StoreError, match="expected a folder to write to, got 'Read-only file system'; make"):
            ResultsWriter(path, Sweep())
    assert read_progress(store).leaders.counts[Status.DONE] == 1
    assert open_results(store).entropy[0, 0].notnull().all()


# --- without stackpop -----------------------------------------------------------------------------------------------

NOTEBOOK = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np, xarray as xr
ds = xr.open_zarr(sys.argv[1])
assert ds.matrix.values.tolist() == ["chicken", "prisoners_dilemma", "stag_hunt"]
assert ds.iteration.values.tolist() == [1, 2, 3, 4] and ds.state.values.tolist() == [0, 1, 2, 3, 4]
assert ds.equilibrium_gap.dims == ("matrix", "seed", "iteration")
curve = ds.equilibrium_gap.sel(matrix="chicken").mean("seed")
assert curve.shape == (4,) and np.isfinite(curve).all()
assert "equilibrium_pure" in ds.equilibrium_gap.coords and "equilibrium_pure" in ds.coords
assert ds.env_steps.dtype == "int64" and ds.attempts.dtype == "int16" and ds.status.dtype == "int8"
assert ds.started.values[0, 0] == np.datetime64("2023-11-14T22:13:20")
tree = xr.open_datatree(sys.argv[1], engine="zarr")
assert tree.followers.follower_logits.dtype == "float64"
assert np.isnat(tree.followers.started.values).all()
for node in tree.subtree:
    for name, variable in node.variables.items():
        assert variable.attrs["long_name"] and variable.attrs["description"], name
        assert "units" in variable.attrs or "units" in variable.encoding, name
        assert variable.dtype != object, name
        str(variable.values)
    versions = ("schema_version", "zarr_version", "source_hash")
    for key in ("title", "spec", "settings", "created_at", "Conventions", "machine", *versions):
        assert node.attrs[key], key
assert "stackpop" not in sys.modules
"""


def test_plain_xarray_reads_the_store_without_stackpop_or_warnings(store: Path) -> None:
    fill(store, Sweep())
    command = [sys.executable, "-c", NOTEBOOK, str(store)]
    answer = subprocess.run(command, cwd=store.parent, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_the_source_hash_names_the_code(tmp_path: Path) -> None:
    package = tmp_path / "stackpop"
    shutil.copytree(Path(stackpop.__file__).parent, package)
    command = [sys.executable, "-c", "from stackpop.provenance import source_hash; print(source_hash())"]

    def hash_of_copy() -> str:
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    same = hash_of_copy()
    with (package / "games" / "play.py").open("a") as file:
        file.write("# changed")
    assert re.fullmatch("[0-9a-f]{12}", same)
    assert same == source_hash() != hash_of_copy()


def test_the_ground_truth_is_named_in_the_schema_once() -> None:
    names = [v.name for v in (*LEADER_VARIABLES, *GROUND_TRUTH)]
    assert len(names) == len(set(names))


def test_numeric_labels_keep_their_exact_values(store: Path) -> None:
    rates = (1 / 3, 1e-3, 0.1 + 0.2)
    fill(store, Sweep(labels={"leader_lr": rates, "flag": (True, False)}))
    assert open_results(store).leader_lr.values.tolist() == list(rates)
    with ResultsWriter(store, Sweep(labels={"leader_lr": rates[::-1], "flag": (False,)})) as writer:
        assert (writer.leaders.status == Status.DONE).all()


def test_blocks_hold_the_runs_asked_for_and_the_last_dims_first() -> None:
    assert block_shape((12, 5), 64) == (8, 8)
    assert block_shape((12, 1), 64) == (16, 4)
    assert block_shape((1000,), 64) == (64,)
    assert block_shape((), 64) == ()


def test_an_open_dataset_stays_readable_while_the_store_grows(store: Path) -> None:
    fill(store, Sweep())
    before = xr.open_zarr(store)
    fill(store, replace(Sweep(), labels={"matrix": (*GAMES, "hero"), "seed": (1, 2, 3)}))
    assert before.entropy.load().shape == (3, 2, 4)
