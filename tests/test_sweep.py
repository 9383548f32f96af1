"""From a sweep to its results: the plan, and real small sweeps on a real small cluster."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, default_client
from hypothesis import given
from hypothesis import strategies as st

import stackpop
from command import TINY, scheduler, worker
from stackpop.cluster import ClusterOptions, Workers
from stackpop.display import progress_text
from stackpop.errors import ClusterError, SpecError
from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.store import ResultsWriter, Status
from stackpop.sweep import Plan, Progress, SweepOptions, Watcher, execute, make_plan
from stackpop.sweep.estimate import _kinds, estimate
from stackpop.sweep.followers import Followers
from stackpop.sweep.packing import MOST_STEPS, PackSizes, most_runs
from stackpop.sweep.plan import LARGEST_PACK, _pack_size, grouped, index_at, packs
from stackpop.sweep.stacks import stacked, unstacked
from support import run_spec

CIRCUMSTANCES = ["wall_seconds", "worker", "started", "finished", "attempts"]
HUGE = "payoffs: {huge: [[[1.0e+308, 1.0e+308]]]}\n"


def sweep(text: str = TINY, **overrides: Any) -> SweepSpec:
    """The tiny sweep, with other settings."""
    return parse_sweep(text, "tiny", [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()])


def plan_of(spec: SweepSpec, **options: Any) -> Plan:
    """The plan for an empty store."""
    statuses = np.zeros(spec.shape, dtype=np.int8)
    followers = np.zeros([len(spec.labels[dim]) for dim in spec.follower_dims], dtype=np.int8)
    given_ = {"leaders": statuses, "followers": followers, "retry_failed": False, "runs_per_task": 1, "threads": 2}
    return make_plan(spec, **{**given_, **options})


# ---------------------------------------------------------------- the plan


def test_plan_of_an_empty_store_is_everything() -> None:
    plan = plan_of(sweep())
    assert (len(plan.pending), plan.done, plan.failed) == (4, 0, 0)
    assert (plan.followers_to_train, plan.followers_reused) == (4, 0)


@pytest.mark.parametrize(("retry", "pending", "failed"), [(False, [0, 3], 1), (True, [0, 2, 3], 0)])
def test_done_runs_stay_and_failed_ones_if_asked(retry: bool, pending: list[int], failed: int) -> None:
    leaders = np.array([[Status.PENDING, Status.DONE], [Status.FAILED, Status.RUNNING]], dtype=np.int8)
    followers = np.array([[Status.DONE, Status.PENDING], [Status.FAILED, Status.PENDING]], dtype=np.int8)
    plan = plan_of(sweep(), leaders=leaders, followers=followers, retry_failed=retry)
    assert plan.pending.tolist() == pending
    assert (plan.done, plan.failed) == (1, failed)
    assert plan.followers_reused == 1
    assert plan.followers_to_train == len(pending) - 1


def test_leaders_that_differ_in_their_own_settings_share_a_follower() -> None:
    plan = plan_of(sweep(axes__leader__lr="[0.1, 0.2, 0.3]"))
    assert len(plan.pending) == 12
    assert plan.followers_to_train == 4


def test_exact_oracles_train_no_follower() -> None:
    text = TINY.replace("follower: {updates: 4, batch_steps: 20, post_updates: 2}\n", "")
    plan = plan_of(sweep(text, axes__follower__oracle="[contextual, exact]"))
    assert len(plan.pending) == 8
    assert plan.followers_to_train == 4


@given(st.integers(0, 500), st.integers(1, 64))
def test_auto_packs_fill_every_thread(runs: int, threads: int) -> None:
    spec = sweep(axes__seed=str(list(range(max(1, runs)))), axes__matrix="[chicken]")
    leaders = np.full(spec.shape, Status.DONE, dtype=np.int8)
    leaders.flat[:runs] = Status.PENDING
    plan = plan_of(spec, leaders=leaders, runs_per_task="auto", threads=threads)
    assert 1 <= plan.runs_per_task <= LARGEST_PACK
    assert plan.tasks * plan.runs_per_task >= runs
    if plan.runs_per_task > 1:
        assert plan.tasks >= min(threads, runs) // 2
        assert (plan.runs_per_task - 1) * threads < runs


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_auto_packs_keep_threads_busy_to_the_end(runs: int, threads: int) -> None:
    size = _pack_size("auto", runs, threads)
    rounds = math.ceil(math.ceil(runs / size) / threads)  # packs that the busiest thread takes
    assert rounds * size <= max(runs / threads * 1.13, runs / threads + rounds)


def test_memory_bounds_a_pack_of_large_batches() -> None:
    small, large = (
        run_spec(),
        run_spec(leader={"algorithm": "ppo", "batch_steps": 80_000}, follower={"oracle": "tabular_q"}),
    )
    assert most_runs(small) >= LARGEST_PACK
    assert 1 <= most_runs(large) <= MOST_STEPS // 80_000
    assert most_runs(run_spec(leader={"algorithm": "ppo", "batch_steps": 10**9})) == 1
    assert most_runs(run_spec(leader={"algorithm": "ppo", "batch_steps": 10, "updates": 10**6})) == 1, (
        "curves take memory, too"
    )
    plan = plan_of(sweep(axes__seed=str(list(range(1000)))), runs_per_task="auto")
    assert PackSizes(plan, 2).of(large) == most_runs(large)


@pytest.mark.parametrize(
    ("seconds", "runs", "expected"),
    [
        (1e-5, 40_000, 1024),  # as large as packs get
        (1e-5, 3000, 256),  # few are left: all threads must stay busy
        (2 / 300, 40_000, 256),  # about two seconds
        (0.1, 40_000, 64),
        (30.0, 40_000, 20),  # ten minutes
        (1e4, 40_000, 16),
        (1e-5, 100, 50),
    ],
)
def test_packs_follow_what_the_last_one_took(seconds: float, runs: int, expected: int) -> None:
    plan = plan_of(sweep(axes__seed=str(list(range(runs // 2)))), runs_per_task="auto")
    sizes, spec = PackSizes(plan, 2), plan.spec.run((0, 0))
    planned = sizes.of(spec)
    sizes.took(spec, [TrainingResult({}, "broken", wall_seconds=1e9)])
    assert sizes.of(spec) == planned == min(64, runs // 2)
    sizes.took(spec, [TrainingResult({}, wall_seconds=seconds)])
    assert sizes.of(spec) == expected
    sizes.handed_out(runs)
    assert sizes.of(spec) <= max(64, planned)
    fixed = PackSizes(plan_of(plan.spec, runs_per_task=3), 2)
    fixed.took(spec, [TrainingResult({}, wall_seconds=seconds)])
    assert fixed.of(spec) == 3


RESULTS = st.lists(
    st.builds(
        lambda lengths, **given: TrainingResult(
            {k: np.random.default_rng(n).random(n) for k, n in lengths.items()}, **given
        ),
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
        error=st.sampled_from(["", "broken"]),
        wall_seconds=st.floats(0, 10),
    )
)


@given(RESULTS)
def test_stacks_give_the_same_results(results: list[TrainingResult]) -> None:
    again = unstacked(pickle.loads(pickle.dumps(stacked(results))))
    assert len(again) == len(results)
    for one, other in zip(again, results, strict=True):
        assert replace(one, arrays={}) == replace(other, arrays={})
        assert one.arrays.keys() == other.arrays.keys()
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name], strict=True)


@given(st.lists(st.sampled_from("abc")), st.integers(1, 5))
def test_groups_hold_every_item_once_in_order(keys: list[str], size: int) -> None:
    items = list(enumerate(keys))
    groups = list(grouped(iter(items), lambda item: item[1], lambda _: size))
    assert sorted(item for group in groups for item in group) == items
    for group in groups:
        assert len({key for _, key in group}) == 1
        assert 1 <= len(group) <= size
        assert group == sorted(group)
    for key in "abc":
        assert sum(len(group) < size for group in groups if group[0][1] == key) <= 1


def test_groups_come_as_soon_as_they_are_full() -> None:
    source = iter(["a", "b", "a", "c"])
    assert next(grouped(source, lambda item: item, lambda _: 2)) == ["a", "a"]
    assert list(source) == ["c"]


def test_packs_hold_the_pending_runs() -> None:
    leaders = np.array([[Status.DONE, Status.PENDING], [Status.PENDING, Status.PENDING]], dtype=np.int8)
    plan = plan_of(sweep(), leaders=leaders, runs_per_task=2)
    found = list(packs(plan))
    assert [[index for index, _ in pack] for pack in found] == [[(0, 1), (1, 0)], [(1, 1)]]
    assert found[0][0][1] == plan.spec.run((0, 1))


def test_progress_line_calls_nothing_running_that_may_wait() -> None:
    progress = Progress(plan_of(sweep()), done=1, failed=0, in_flight=3, threads=1)
    assert progress_text(progress).startswith("1 done, 3 in flight, 0 failed | 0 followers")


# ---------------------------------------------------------------- the estimate

WIDE = "payoffs: {wide: [[[1, 2], [3, 4], [5, 6]]]}\n"


@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"matrix": "[chicken, wide, battle]", "leader__lr": "[0.1, 0.2]", "game__reward_offset": "[0, 1]"},
        {"leader__algorithm": "[pg, ppo]", "follower__early_stop": "[false, true]", "game__memory": "[none, joint]"},
        {"evaluation_episodes": "[1, 2]", "commitment": "[resample, replay]", "follower__post_updates": "[0, 1, 2]"},
    ],
)
def test_kinds_are_the_runs_that_can_share_a_pack(axes: dict[str, str]) -> None:
    text = TINY.replace("algorithm: pg, ", "").replace("evaluation_episodes: 2\n", "")
    text = text.replace("memory: opponent, ", "").replace(", post_updates: 2", "")
    spec = sweep(WIDE + text, **{f"axes__{axis}": values for axis, values in axes.items()})
    leaders = np.zeros(spec.shape, dtype=np.int8)
    leaders.flat[::3] = Status.DONE
    plan = plan_of(spec, leaders=leaders)
    keys = [spec.run(index_at(spec, flat)).pack_key for flat in plan.pending]
    kinds = _kinds(plan).tolist()
    assert len(set(zip(keys, kinds, strict=True))) == len(set(keys)) == len(set(kinds))


def test_estimate_does_not_depend_on_the_order_of_an_axis(tmp_path: Path) -> None:
    text = TINY.replace("{updates: 4, batch_steps: 20, post_updates: 2}", "{}")
    found = [
        median(
            estimate(sweep(text, axes__follower__oracle=order), SweepOptions(tmp_path / "s.zarr")).seconds
            for _ in range(3)
        )
        for order in ("[exact, contextual]", "[contextual, exact]")
    ]
    # A follower takes a thousand updates, a leader four: to price one as the other would be wrong a hundredfold.
    assert max(found) < 10 * min(found)


def test_estimate_of_many_runs_makes_few_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep(axes__seed=str(list(range(5000))), axes__leader__batch_steps=str([20 + 2 * k for k in range(10)]))
    made = []
    run_at = SweepSpec.run
    monkeypatch.setattr(SweepSpec, "run", lambda self, index: made.append(index) or run_at(self, index))
    plan = estimate(spec, SweepOptions(tmp_path / "s.zarr", runs_per_task=2)).plan
    assert len(plan.pending) == 100_000
    assert len(made) < 20


# ---------------------------------------------------------------- on a cluster


class Recorder(Watcher):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.plans: list[tuple[Plan, str | None]] = []
        self.reports: list[tuple[int, int]] = []
        self.warnings: list[str] = []

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        self.plans.append((plan, dashboard))

    def report(self, progress: Progress) -> None:
        self.reports.append((progress.done, progress.in_flight))

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers for all tests of this file."""
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": "CRITICAL"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client


def run(client: Client, spec: SweepSpec, store: Path, **options: Any) -> Plan:
    """Run a sweep to its end; returns its plan."""
    recorder = Recorder()
    execute(spec, SweepOptions(store, **options), recorder, client=client)
    ((plan, _),) = recorder.plans
    return plan


def bits(store: Path, group: str | None = None) -> xr.Dataset:
    """The results without what depends on where and when they were made."""
    return stackpop.open_results(store).load().drop_vars(CIRCUMSTANCES) if group is None else _followers(store)


def _followers(store: Path) -> xr.Dataset:
    return xr.open_zarr(store, group="followers").load().drop_vars(CIRCUMSTANCES)


@pytest.fixture(scope="module")
def alone(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the tiny sweep, one run a task."""
    store = tmp_path_factory.mktemp("alone") / "tiny.zarr"
    run(client, sweep(), store)
    return store


def test_every_run_is_done_and_told(client: Client, tmp_path: Path) -> None:
    recorder = Recorder()
    progress = execute(sweep(), SweepOptions(tmp_path / "s.zarr"), recorder, client=client)
    assert (progress.done, progress.failed, progress.in_flight, progress.followers_done) == (4, 0, 0, 4)
    assert progress.finished_now == 4
    assert str(recorder.plans[0][1]).startswith("http://127.0.0.1:")
    assert max(in_flight for _, in_flight in recorder.reports) >= 1
    results = stackpop.open_results(tmp_path / "s.zarr")
    assert (results.status == Status.DONE).all()
    assert (results.attempts == 1).all()
    assert np.isfinite(results.leader_return).all()
    assert np.isfinite(results.equilibrium_pure).all()
    assert all(str(address).startswith("tcp://127.0.0.1") for address in results.worker.values.flat)
    steps = int(results.env_steps.isel(iteration=-1).sum())
    assert progress.env_steps > steps  # the followers' too


@pytest.mark.parametrize("runs_per_task", [3, "auto"])
def test_packs_give_the_same_bits(client: Client, alone: Path, tmp_path: Path, runs_per_task: Any) -> None:
    plan = run(client, sweep(), tmp_path / "s.zarr", runs_per_task=runs_per_task)
    assert plan.tasks == 2
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "s.zarr"))
    xr.testing.assert_equal(bits(alone, "followers"), bits(tmp_path / "s.zarr", "followers"))


@pytest.mark.parametrize("runs_per_task", [1, "auto"])
def test_segments_give_the_same_bits(client: Client, tmp_path: Path, runs_per_task: Any) -> None:
    """And the same errors, of runs that diverge in their first update."""
    text, stores = HUGE + TINY, [tmp_path / "whole.zarr", tmp_path / "cut.zarr"]
    for store, more in zip(stores, [{}, {"segment": 3}], strict=True):
        progress = execute(
            sweep(text, axes__matrix="[huge, chicken]", **more), SweepOptions(store, runs_per_task), client=client
        )
        assert (progress.done, progress.failed, progress.in_flight) == (2, 2, 0)
    whole, cut = map(bits, stores)
    xr.testing.assert_equal(whole, cut)
    assert not (stores[1] / "unfinished").exists()


def test_the_limit_of_a_run_holds_for_all_its_segments(client: Client, tmp_path: Path) -> None:
    """No segment takes as long as the limit."""
    spec, store = sweep(axes__matrix="[chicken]", leader__updates=100_000, segment=500), tmp_path / "s.zarr"
    progress = execute(spec, SweepOptions(store, run_limit=4.0), client=client)
    assert progress.failed == 2
    errors = stackpop.open_results(store).error.values
    assert all(error.startswith("run_limit: expected an end within 4 s, got none after ") for error in errors.flat)
    assert not (store / "unfinished").exists()


def test_running_again_does_nothing(alone: Path) -> None:
    before = stackpop.open_results(alone).load()
    stackpop.run_sweep(sweep(), store=alone, scheduler="tcp://127.0.0.1:1")  # which nobody would ask
    xr.testing.assert_equal(before, stackpop.open_results(alone).load())


def test_extension_trains_only_what_is_new(client: Client, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__matrix="[battle]", axes__seed="[2]"), store)
    first = stackpop.open_results(store).load()
    plan = run(client, sweep(axes__matrix="[chicken, battle]", axes__seed="[1, 2]"), store)
    assert (plan.done, len(plan.pending)) == (1, 3)
    assert plan.followers_to_train == 3
    after = stackpop.open_results(store).load()
    assert (after.status == Status.DONE).all()
    xr.testing.assert_equal(first, after.sel(matrix=["battle"], seed=[2]))


def test_extension_gives_the_bits_of_one_go(client: Client, alone: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__seed="[2]"), store)
    run(client, sweep(), store)
    order = stackpop.open_results(alone)
    xr.testing.assert_equal(bits(alone), bits(store).sel(matrix=order.matrix, seed=order.seed))


def test_new_leaders_reuse_stored_followers(client: Client, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(client, sweep(axes__leader__lr="[0.1]"), store)
    followers = xr.open_zarr(store, group="followers").load()
    plan = run(client, sweep(axes__leader__lr="[0.1, 0.2]"), store)
    assert (len(plan.pending), plan.followers_to_train, plan.followers_reused) == (4, 0, 4)
    xr.testing.assert_equal(followers, xr.open_zarr(store, group="followers").load())
    whole = tmp_path / "whole.zarr"
    run(client, sweep(axes__leader__lr="[0.1, 0.2]"), whole)
    xr.testing.assert_equal(bits(whole), bits(store))


def test_exact_oracle(client: Client, tmp_path: Path) -> None:
    text = TINY.replace("{updates: 4, batch_steps: 20, post_updates: 2}", "{oracle: exact}\ncommitment: replay")
    plan = run(client, sweep(text), tmp_path / "s.zarr")
    assert plan.followers_to_train == 0
    results = stackpop.open_results(tmp_path / "s.zarr")
    assert (results.status == Status.DONE).all()
    assert np.allclose(results.follower_regret, 0)


def test_networks_in_a_game_of_too_many_contexts_resume_with_the_same_bits(client: Client, tmp_path: Path) -> None:
    """A 3x3 game with joint memory has 59,049 contexts; its pure equilibrium is known all the same."""
    text = """\
payoffs: {dilemma: [[[3, 3], [0, 4], [0, 0]], [[4, 0], [1, 1], [0, 0]], [[0, 0], [0, 0], [0.5, 0.5]]]}
matrix: dilemma
game: {memory: joint, rounds: 2}
leader: {algorithm: pg, network: mlp, hidden: [4], updates: 4}
follower: {network: mlp, hidden: [5, 6], updates: 4, post_updates: 2}
evaluation_episodes: 3
axes: {seed: [1, 2]}
"""
    whole, parts = tmp_path / "whole.zarr", tmp_path / "parts.zarr"
    run(client, sweep(text), whole, runs_per_task=2)
    assert run(client, sweep(text, axes__seed="[1]"), parts).followers_to_train == 1
    assert run(client, sweep(text), parts).followers_to_train == 1
    xr.testing.assert_identical(bits(parts).drop_attrs(), bits(whole).drop_attrs())
    followers = _followers(whole)
    xr.testing.assert_identical(_followers(parts).drop_attrs(), followers.drop_attrs())
    assert followers.sizes["context"] == 0
    assert followers.sizes["follower_parameter"] == (30 + 1) * 5 + (5 + 1) * 6 + (6 + 1) * 30
    assert np.isfinite(followers.follower_parameters).all()
    results = bits(whole)
    assert (results.status == Status.DONE).all()
    assert np.isfinite(results.equilibrium_pure)
    assert np.isnan(results.equilibrium_resample)
    gap = results.equilibrium_pure - results.leader_return
    np.testing.assert_allclose(results.equilibrium_gap, gap, rtol=1e-5, atol=1e-5)
    assert np.isnan(results.follower_regret).all()
    again = run(client, sweep(text, axes__leader__lr="[0.1]"), tmp_path / "axis.zarr")
    assert again.followers_to_train == 2


def test_stored_networks_are_met_again(client: Client, tmp_path: Path) -> None:
    """New leaders train against followers that are read from the store, with the same bits as in one go."""
    follower = "{network: mlp, hidden: [3], updates: 4, batch_steps: 20, post_updates: 2}"
    once, later = tmp_path / "once.zarr", tmp_path / "later.zarr"
    run(client, sweep(follower=follower, axes__leader__lr="[0.1, 0.2]"), once)
    run(client, sweep(follower=follower, axes__leader__lr="[0.1]"), later)
    assert run(client, sweep(follower=follower, axes__leader__lr="[0.1, 0.2]"), later).followers_reused == 4
    xr.testing.assert_identical(bits(later).drop_attrs(), bits(once).drop_attrs())


def test_sweep_without_axes(client: Client, tmp_path: Path) -> None:
    spec = sweep(TINY[: TINY.index("axes:")] + "matrix: chicken\n")
    assert run(client, spec, tmp_path / "s.zarr").spec.size == 1
    assert int(stackpop.open_results(tmp_path / "s.zarr").status) == Status.DONE


def test_failing_runs_are_recorded_and_the_others_finish(client: Client, tmp_path: Path) -> None:
    spec, store = sweep(HUGE + TINY, axes__matrix="[huge, chicken]"), tmp_path / "s.zarr"
    progress = execute(spec, SweepOptions(store), client=client)
    assert (progress.done, progress.failed) == (2, 2)
    results = stackpop.open_results(store).load()
    assert (results.status.sel(matrix="huge") == Status.FAILED).all()
    assert (results.status.sel(matrix="chicken") == Status.DONE).all()
    assert all(text for text in results.error.sel(matrix="huge").values)
    assert not any(text for text in results.error.sel(matrix="chicken").values)
    again = run(client, spec, store)
    assert (len(again.pending), again.failed) == (0, 2)
    retried = run(client, spec, store, retry_failed=True)
    assert (len(retried.pending), retried.failed) == (2, 0)
    later = stackpop.open_results(store).load()
    assert (later.started.sel(matrix="huge") >= results.started.sel(matrix="huge")).all()
    assert (later.status == results.status).all()


def test_leaders_of_a_follower_that_is_not_good_enough_are_blocked(client: Client, tmp_path: Path) -> None:
    """Until more regret is allowed, or the follower is better; the followers are trained once."""
    store = tmp_path / "certified.zarr"
    run(client, sweep(), store)
    regret = bits(store, "followers").follower_regret_worst.isel(follower_iteration=-1)
    assert (regret > 0).all()
    refused = int((regret > regret.median()).sum())
    assert 0 < refused < 4
    store = tmp_path / "blocked.zarr"
    plan = run(client, sweep(follower__max_regret=float(regret.median())), store, runs_per_task="auto")
    assert (plan.followers_to_train, plan.followers_reused) == (4, 0)
    with xr.open_zarr(store) as results:
        blocked = results.status == Status.BLOCKED
        assert np.array_equal(blocked, (regret > regret.median()).transpose(*blocked.dims))
        assert (results.leader_return.isnull().all("iteration") == blocked).all()
        for error in results.error.values[blocked.values]:
            assert error.startswith("follower.max_regret: expected a follower with a regret of at most ")
    for most in (float(regret.median()), 1e9):
        plan = run(client, sweep(follower__max_regret=most), store)
        assert (len(plan.pending), plan.followers_to_train, plan.followers_reused) == (refused, 0, refused)
    with xr.open_zarr(store) as results:
        assert (results.status == Status.DONE).all()
        assert (results.error == "").all()


@pytest.mark.parametrize(("columns", "judges"), [(4, "all 512 leader tables"), (8, "a sample of 64 leader tables")])
def test_what_blocks_a_leader_in_a_larger_game_tells_what_its_follower_was_judged_by(
    client: Client, tmp_path: Path, columns: int, judges: str
) -> None:
    """No table could hold the contexts of 2x8 with joint memory, nor be checked against all of the leader's."""
    payoffs = [[[0, (3 * column + row) % 5] for column in range(columns)] for row in range(2)]
    text = f"""\
payoffs: {{wide: {payoffs}}}
matrix: wide
game: {{memory: joint, rounds: 3}}
leader: {{algorithm: pg, updates: 2}}
follower: {{network: mlp, hidden: [4], updates: 2, max_regret: 0.0}}
axes: {{seed: [1, 2]}}
"""
    store = tmp_path / "s.zarr"
    run(client, sweep(text), store)
    with xr.open_zarr(store) as results:
        assert (results.status == Status.BLOCKED).all()
        worst = bits(store, "followers").follower_regret_worst.isel(follower_iteration=-1)
        for error, regret in zip(results.error.values, worst.values, strict=True):
            expected = "follower.max_regret: expected a follower with a regret of at most 0, got "
            assert error.startswith(f"{expected}{regret:.6g} against one of {judges}; raise it")
    run(client, sweep(text, follower__max_regret=float(worst.max())), store)
    assert (bits(store).status == Status.DONE).all()


def test_game_that_cannot_be_solved_is_told(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(game: Game) -> dict[str, float]:
        raise ValueError("no luck")

    monkeypatch.setattr("stackpop.sweep.flight.solve_game", fail)
    recorder = Recorder()
    progress = execute(sweep(), SweepOptions(tmp_path / "s.zarr"), recorder, client=client)
    assert progress.done == 4
    expected = "no exact values, solving failed 3 times, the last with ValueError: no luck"
    assert sorted(recorder.warnings) == [f"battle: {expected}", f"chicken: {expected}"]


def test_finished_sweep_with_infinite_returns_needs_no_cluster(client: Client, tmp_path: Path) -> None:
    spec = sweep(HUGE + TINY, axes__matrix="[huge]")
    execute(spec, SweepOptions(tmp_path / "s.zarr"), client=client)
    nobody = SweepOptions(tmp_path / "s.zarr", cluster=ClusterOptions(scheduler="tcp://127.0.0.1:1"))
    assert execute(spec, nobody).failed == 2


def test_worker_with_other_code_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.cluster.workers.source_hash", lambda: "another")
    with pytest.raises(ClusterError, match=r"expected stackpop's source another, got stackpop's source \w+; install"):
        Workers(client).threads()


def test_followers_beyond_the_limit_are_read_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.sweep.followers.REMEMBERED_BYTES", 3000)
    spec = sweep(axes__seed="[1, 2, 3, 4]")
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        followers = Followers(spec, writer.followers)
        shape = tuple(spec.follower_sizes[dim] for dim in ("context", "state", "action"))
        for index in spec.indices():
            certificate = {"follower_regret_worst": np.zeros(1), "updates": np.array(1)}
            logits = {"follower_logits": np.full(shape, 10.0 * index[0] + index[1])}
            followers.ended(index, TrainingResult({**logits, **certificate}))
        writer.flush()
        assert len(followers._known) == 2  # of about a kilobyte each
        for index in [*spec.indices(), (0, 0)]:
            follower = spec.run(index).follower_spec()
            assert follower is not None
            known = followers.known(index, follower)
            assert known is not None
            assert (known.arrays["follower_logits"] == 10 * index[0] + index[1]).all()
            assert len(followers._known) == 2


def test_run_sweep_from_python(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    found = stackpop.run_sweep(file, store=tmp_path / "s.zarr", overrides=["axes.seed=[7]"], client=client)
    assert found.sizes["seed"] == 1
    assert found.equilibrium_gap.sel(matrix="chicken").mean("seed").dims == ("iteration",)
    same = stackpop.run_sweep(stackpop.load_sweep(file, ["axes.seed=[7]"]), store=tmp_path / "s.zarr", client=client)
    xr.testing.assert_equal(found.load(), same.load())


def test_run_sweep_refuses_what_it_would_ignore(client: Client, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="overrides: expected none with a loaded sweep"):
        stackpop.run_sweep(sweep(), overrides=["leader.lr=1"])
    with pytest.raises(ClusterError, match="client: expected alone"):
        stackpop.run_sweep(sweep(), client=client, workers=2)
    for size in (0, "many", 1.5):
        with pytest.raises(SpecError, match="runs_per_task: expected a whole number of 1 or more, or auto"):
            stackpop.run_sweep(sweep(), runs_per_task=size, client=client)
    for limit in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(SpecError, match="run_limit: expected seconds above 0, got"):
            stackpop.run_sweep(sweep(), run_limit=limit, client=client)
    with pytest.raises(ClusterError, match="expected one of them, got both"):
        ClusterOptions(scheduler="tcp://127.0.0.1:1", scheduler_file="s.json")


def test_sweep_leaves_other_computations_where_they_were(client: Client, tmp_path: Path) -> None:
    """Had its client become Dask's default, xarray would load results through the cluster of a sweep."""

    class Onlooker(Recorder):
        def announce(self, plan: Plan, dashboard: str | None) -> None:
            super().announce(plan, dashboard)
            assert default_client() is client

    onlooker = Onlooker()
    execute(sweep(), SweepOptions(tmp_path / "s.zarr", cluster=ClusterOptions(workers=1)), onlooker)
    assert len(onlooker.plans) == 1


@pytest.mark.slow
def test_scheduler_by_file_and_by_address(alone: Path, tmp_path: Path) -> None:
    with scheduler(tmp_path) as (file, _), worker(file, tmp_path / "scratch"):
        stackpop.run_sweep(sweep(), store=tmp_path / "file.zarr", scheduler_file=str(file))
        with Client(scheduler_file=str(file)) as client:
            address = client.scheduler_info(n_workers=0)["address"]
        stackpop.run_sweep(sweep(), store=tmp_path / "address.zarr", scheduler=address)
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "file.zarr"))
    xr.testing.assert_equal(bits(alone), bits(tmp_path / "address.zarr"))
