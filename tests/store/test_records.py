"""What is written to a store comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import stackpop
from stackpop.equilibria import ground_truth
from stackpop.errors import StoreError
from stackpop.games import Game, parse_payoffs
from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status, open_results, read_progress
from stackpop.store.schema import GROUND_TRUTH, LEADER_VARIABLES
from toy_store import GAMES, LEADER_SIZES, Sweep, check_padded, follower_result, leader_result

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
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
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
