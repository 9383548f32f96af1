"""Searches: what a file means, which candidates are tried, and that neither kills nor timing change them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import stackpop
from command import Answer, started, until
from command import stackpop as command
from stackpop.analysis import best_trials, final
from stackpop.cluster import ClusterOptions
from stackpop.errors import SpecError, StoreError
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.spec.search import Choices, Range, SearchSettings
from stackpop.store import ResultsWriter, Status, read_progress
from stackpop.store.schema import LEADER_VARIABLES
from stackpop.sweep import Plan, Progress, SweepOptions, Watcher, execute, make_plan
from stackpop.sweep.estimate import estimate
from stackpop.sweep.search import TPE, Trials

SEARCH = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 2}
evaluation_episodes: 2
search:
  method: tpe
  trials: 14
  at_once: 2
  start: [{leader.lr: 0.5}]
  space: {leader.lr: {low: 1.0e-5, high: 1.0, log: true}}
axes:
  matrix: [chicken, battle]
  seed: [1, 2]
"""
RANDOM = SEARCH.replace("  at_once: 2\n", "").replace("tpe", "random")
LR = "{leader.lr: {low: 1.0e-5, high: 1.0, log: true}}"
CIRCUMSTANCES = ["wall_seconds", "worker", "started", "finished", "attempts"]


def search(text: str = SEARCH, **overrides: object) -> SweepSpec:
    """A small search, with other settings."""
    return parse_sweep(text, "tiny", [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()])


# ---------------------------------------------------------------- the file

HEAD = "matrix: hero\nsearch:\n  method: tpe\n  trials: 3\n"
MISTAKES = {
    "no section": ("matrix: hero\nsearch: 5", "2:9: search: expected a section of settings, got 5"),
    "unknown key": (f"{HEAD}  trails: 4\n  space: {LR}", "5:3: search.trails: expected a key of a search", "'trials'?"),
    "unknown method": (
        HEAD.replace("tpe", "tp") + f"  space: {LR}",
        "3:11: search.method: expected 'random' or 'tpe', got 'tp'",
        "tpe",
    ),
    "no method": (
        f"matrix: hero\nsearch:\n  trials: 3\n  space: {LR}",
        "search.method: expected a value, got nothing",
        "give one",
    ),
    "unread key": (
        HEAD.replace("tpe", "random") + f"  at_once: 2\n  space: {LR}",
        "5:12: search.at_once: expected a key that method",
    ),
    "unknown objective": (
        f"{HEAD}  objective: regret\n  space: {LR}",
        "5:14: search.objective: expected 'leader_return'",
    ),
    "no space": (HEAD, "search.space: expected settings to search, got nothing", "for instance `leader.lr"),
    "space as a list": (f"{HEAD}  space: [leader.lr]", "5:10: search.space: expected settings to search, got a list"),
    "unknown setting": (f"{HEAD}  space: {LR.replace('lr', 'lrr')}", "5:11: search.space.leader.lrr: ", "'leader.lr'?"),
    "seed": (
        f"{HEAD}  space: {{seed: {{low: 1, high: 9}}}}",
        "5:11: search.space.seed: ",
        "got 'seed'; make it an axis",
    ),
    "game": (
        f"{HEAD}  space: {{game.rounds: {{low: 1, high: 9}}}}",
        "5:11: search.space.game.rounds: ",
        "make it an axis",
    ),
    "chooser": (
        f"{HEAD}  space: {{leader.algorithm: {{choices: [pg, ppo]}}}}",
        "5:11: search.space.leader.algo",
        "make it an axis",
    ),
    "also a setting": (
        f"{HEAD}  space: {LR}\nleader: {{lr: 1}}",
        "got both 'leader.lr' and 'search.space.leader.lr'; rem",
    ),
    "also an axis": (
        f"{HEAD}  space: {LR}\naxes: {{leader.lr: [1]}}",
        "got both 'axes.leader.lr' and 'search.space.lea",
    ),
    "not read": (
        f"{HEAD}  space: {{leader.clip: {{low: 0.1, high: 1}}}}\nleader: {{algorithm: pg}}",
        "5:11: search.space.leader.clip: expected a setting that algorithm pg reads",
    ),
    "unknown range": (
        f"{HEAD}  space: {{leader.lr: {{low: 1}}}}",
        "5:22: search.space.leader.lr: expected the keys low",
    ),
    "range as a list": (f"{HEAD}  space: {{leader.lr: [1, 2]}}", "5:22: search.space.leader.lr: ", "got a list"),
    "low above high": (
        f"{HEAD}  space: {{leader.lr: {{low: 2, high: 1}}}}",
        "5:28: ",
        "low below high, got low 2.0 and hi",
    ),
    "no span": (f"{HEAD}  space: {{leader.lr: {{low: 1, high: 1}}}}", "5:28: ", "expected low below high"),
    "log of zero": (
        f"{HEAD}  space: {{leader.kl_coefficient: {{low: 0, high: 1, log: true}}}}",
        "5:40: ",
        "a low above 0 with log",
    ),
    "log as a word": (
        f"{HEAD}  space: {{leader.lr: {{low: 1, high: 2, log: yes}}}}",
        "5:45: ",
        "true or false, got 'yes'",
    ),
    "invalid end": (f"{HEAD}  space: {{leader.lr: {{low: -1, high: 2}}}}", "5:28: ", "a number above 0.0, got -1"),
    "fraction of a whole": (
        f"{HEAD}  space: {{leader.updates: {{low: 1, high: 2.5}}}}",
        "5:42: ",
        "a whole number, got 2.5",
    ),
    "truth values as ends": (
        f"{HEAD}  space: {{follower.early_stop: {{low: false, high: true}}}}",
        "5:32: ",
        "{choices: [false, true]}",
    ),
    "no choices": (f"{HEAD}  space: {{leader.lr: {{choices: []}}}}", "5:32: ", "a list of values, got an empty list"),
    "choice twice": (
        f"{HEAD}  space: {{leader.lr: {{choices: [1, 1.0]}}}}",
        "5:36: ",
        "each value once, got 1.0 a second",
    ),
    "null as a choice": (
        f"{HEAD}  space: {{leader.value_clip: {{choices: [null, 1]}}}}",
        "5:41: ",
        "a number, got nothing",
    ),
    "hidden layers": (
        f"{HEAD}  space: {{leader.hidden: {{choices: [8, 16]}}}}\nleader: {{network: mlp}}",
        "5:11: search.space.leader.hidden: expected a number or truth value",
        "got 'leader.hidden', which is a list; give each list a sweep of its own",
    ),
    "unread beside a setting": (
        f"{HEAD}  space: {{follower.epsilon: {{low: 0.1, high: 0.2}}}}\n"
        "follower: {oracle: tabular_q, exploration: parameter_noise}",
        "5:29: search.space.follower.epsilon: expected something else with follower.exploration 'parameter_noise', ",
        "one of the two",
    ),
    "start as a section": (f"{HEAD}  start: {{leader.lr: 1}}\n  space: {LR}", "5:10: search.start: expected a list of"),
    "start too long": (
        f"{HEAD}  start: [{', '.join(['{leader.lr: 1}'] * 4)}]\n  space: {LR}",
        "5:10: ",
        "at most 3 candidates, as search.t",
    ),
    "start of another name": (
        f"{HEAD}  start: [{{lr: 1}}]\n  space: {LR}",
        "5:11: search.start[0]: ",
        "got values of lr",
    ),
    "start out of range": (
        f"{HEAD}  start: [{{leader.lr: 2}}]\n  space: {LR}",
        "5:23: search.start[0].leader.lr: expected a va",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_every_mistake_is_one_line_with_its_place(case: str) -> None:
    text, *words = MISTAKES[case]
    with pytest.raises(SpecError) as caught:
        parse_sweep(text, "file", source="f.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("f.yaml:")
    for word in words:
        assert word in line


def test_setting_that_is_searched_cannot_be_overridden() -> None:
    with pytest.raises(SpecError, match=r"got both 'leader\.lr' and 'search\.space\.leader\.lr'; remove one"):
        search(leader__lr=0.1)


def test_searched_settings_are_coordinates_and_the_rest_is_fixed() -> None:
    spec = search()
    assert spec.dims == ("trial", "matrix", "seed")
    assert spec.shape == (14, 2, 2)
    assert spec.searched == ("leader_lr",)
    assert spec.fixed["search.space.leader.lr"] == {"low": 1e-5, "high": 1.0, "log": True}
    assert spec.fixed["search.at_once"] == 2
    assert "search.trials" not in spec.fixed
    assert "leader.lr" not in spec.fixed
    assert "search.at_once" not in search(RANDOM).fixed


@pytest.mark.parametrize(
    ("setting", "trains"), [("leader.lr", False), ("follower.lr", True), ("follower.post_updates", False)]
)
def test_followers_are_trained_once_for_all_trials_they_do_not_depend_on(setting: str, trains: bool) -> None:
    text = SEARCH.replace(", post_updates: 2", "").replace("  start: [{leader.lr: 0.5}]\n", "")
    spec = search(text, search__space=f"{{{setting}: {{low: 1, high: 9}}}}")
    assert ("trial" in spec.follower_dims) == trains
    assert ("trial" in spec.game_dims) is False


def test_run_has_the_values_that_are_tried() -> None:
    spec = search()
    run = spec.run((3, 1, 0), {"leader.lr": 0.25})
    assert (run.leader.lr, run.matrix, run.seed) == (0.25, "battle", 1)
    assert spec.run((0, 0, 0)).leader.lr == 0.5  # the start


def test_room_for_the_largest_value_of_a_searched_size() -> None:
    text = SEARCH.replace("updates: 4, batch", "batch").replace("  start: [{leader.lr: 0.5}]\n", "")
    assert search(text, search__space="{leader.updates: {low: 2, high: 7}}").leader_sizes["iteration"] == 7
    assert search(text, search__space="{follower.updates: {choices: [9, 3]}}").follower_sizes["iteration"] == 9


def test_every_objective_is_a_curve_of_the_store() -> None:
    curves = {variable.name for variable in LEADER_VARIABLES if variable.dims == ("iteration",)}
    assert set(SearchSettings.model_fields["objective"].annotation.__args__) <= curves


# ---------------------------------------------------------------- random candidates

numbers = st.floats(1e-300, 1e300)
ranges = st.one_of(
    st.builds(lambda a, b, log: Range(min(a, b), max(a, b), log), numbers, numbers, st.booleans()),
    st.builds(lambda a, n, log: Range(a, a + n, log), st.integers(1, 10**6), st.integers(1, 10**6), st.booleans()),
    st.builds(lambda a, n: Range(a, a + n), st.integers(-100, 100), st.integers(1, 100)),
)
choices = st.lists(st.one_of(numbers, st.integers(0, 9)), min_size=1, unique=True).map(lambda c: Choices(tuple(c)))
fractions = st.floats(0, 1, exclude_max=True)


@given(st.one_of(ranges, choices), fractions)
def test_draws_are_in_range_and_survive_the_store(domain: Range | Choices, u: float) -> None:
    value = domain.at(u)
    assert domain.holds(value)
    assert domain.decode(float(value)) == value
    assert type(domain.decode(float(value))) is type(value)


def test_draws_spread_evenly() -> None:
    u = (np.arange(4000) + 0.5) / 4000
    assert np.mean([Range(1e-5, 1.0, log=True).at(x) < 1e-3 for x in u]) == pytest.approx(2 / 5, abs=1e-3)
    assert np.mean([Range(0.0, 8.0).at(x) < 2 for x in u]) == pytest.approx(1 / 4, abs=1e-3)
    for domain in (Range(1, 4), Choices((1, 2, 3, 4))):
        assert np.bincount([int(domain.at(x)) for x in u]).tolist() == [0, 1000, 1000, 1000, 1000]
    whole = [Range(1, 8, log=True).at(x) for x in u]
    assert whole.count(1) > whole.count(2) > whole.count(8)


@given(st.integers(0, 2**63 - 1), st.integers(0, 50), st.integers(0, 50))
@settings(deadline=None, max_examples=30)
def test_random_trial_depends_on_seed_and_number_only(seed: int, trial: int, more: int) -> None:
    two = "{%s: {low: 0.1, high: 1}, %s: {low: 1, high: 9}}"
    names = ["leader.lr", "follower.lr"]
    text = RANDOM.replace("  start: [{leader.lr: 0.5}]\n", "")
    few = search(text, search__seed=seed, search__trials=51, search__space=two % (*names,))
    many = search(text, search__seed=seed, search__trials=51 + more, search__space=two % (*names,))
    assert few.search is not None
    assert many.search is not None
    assert few.search.draw(trial) == many.search.draw(trial)
    other = search(text, search__seed=seed + 1 if seed < 2**62 else 0, search__space=two % (*names,))
    assert other.search is not None
    assert other.search.draw(trial) != few.search.draw(trial)


def test_random_candidates_stay_what_they_were() -> None:
    """They are part of every store: were they to change, an extended search would not be what one go makes."""
    spec = search(RANDOM).search
    assert spec is not None
    found = [spec.draw(trial)["leader.lr"] for trial in range(3)]
    assert found == pytest.approx([0.5, 0.1166192663347014, 0.11807770081841211], rel=1e-12)


spans = st.builds(
    lambda low, more, log: Range(low, low * more, log), st.floats(1e-9, 1e3), st.floats(2, 1e6), st.booleans()
)


@given(st.dictionaries(st.sampled_from(["leader.lr", "leader.clip", "leader.kl_target"]), spans, min_size=1))
@settings(deadline=None, max_examples=30)
def test_search_survives_its_yaml(space: dict[str, Range]) -> None:
    start = {name: (r.low + r.high) / 2 for name, r in space.items()}
    text = {name: {"low": r.low, "high": r.high, "log": r.log} for name, r in space.items()}
    for method in ("random", "tpe"):
        keys = {"method": method, "trials": 3, "space": text, "start": [start]}
        spec = parse_sweep("matrix: hero", "s", {"search": keys})
        again = parse_sweep(spec.to_yaml(), "s")
        assert again == spec
        assert spec.search is not None
        assert spec.search.space == space
        assert spec.search.start == (start,)


# ---------------------------------------------------------------- sweeps


class EnoughError(Exception):
    """A test has seen enough."""


class Stopper(Watcher):
    """Interrupts a sweep once so many runs are done; remembers what it is told."""

    def __init__(self, after: int = 10**9) -> None:
        self._after = after
        self.warnings: list[str] = []
        self.plans: list[Plan] = []

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        self.plans.append(plan)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def report(self, progress: Progress) -> None:
        if progress.done >= self._after:
            raise EnoughError


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers for all tests of this file."""
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": "CRITICAL"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client


def run(client: Client, spec: SweepSpec, store: Path, *, runs_per_task: Any = "auto", **options: Any) -> Stopper:
    """Run a sweep to its end; returns what was told."""
    watcher = Stopper()
    execute(spec, SweepOptions(store, runs_per_task, **options), watcher, client=client)
    return watcher


def bits(store: Path, group: str | None = None) -> xr.Dataset:
    """The results, as plain xarray gives them, without what depends on where and when they were made."""
    with xr.open_zarr(store, group=group, consolidated=True) as dataset:
        return dataset.load().drop_vars(CIRCUMSTANCES)


@pytest.fixture(scope="module")
def whole(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the small search, in one go."""
    store = tmp_path_factory.mktemp("whole") / "s.zarr"
    run(client, search(), store)
    return store


def test_store_has_the_tried_values_along_the_trials(whole: Path) -> None:
    found = bits(whole)
    assert found.leader_lr.dims == ("trial",)
    assert "leader_lr" in found.leader_return.coords  # so that `where` and `sel` keep it
    assert found.leader_lr[0] == 0.5
    assert ((found.leader_lr >= 1e-5) & (found.leader_lr <= 1)).all()
    assert len(np.unique(found.leader_lr)) == 14
    assert (found.status == Status.DONE).all()
    assert bits(whole, "followers").status.dims == ("matrix", "seed")
    assert bits(whole, "followers").sizes["seed"] == 2


def test_runs_were_trained_with_the_values_beside_them(whole: Path, client: Client, tmp_path: Path) -> None:
    found = bits(whole)
    grid = SEARCH[: SEARCH.index("search:")] + SEARCH[SEARCH.index("axes:") :]
    rates = [float(found.leader_lr[trial]) for trial in (0, 5, 13)]
    run(client, search(grid, axes__leader__lr=rates), tmp_path / "grid.zarr")
    one_by_one = bits(tmp_path / "grid.zarr").leader_policy.transpose("leader_lr", ...)
    np.testing.assert_array_equal(one_by_one, found.leader_policy.isel(trial=[0, 5, 13]))


@pytest.mark.parametrize("runs_per_task", [1, 3])
def test_candidates_do_not_depend_on_packs_or_timing(
    client: Client, whole: Path, tmp_path: Path, runs_per_task: int
) -> None:
    run(client, search(), tmp_path / "s.zarr", runs_per_task=runs_per_task)
    xr.testing.assert_identical(bits(whole).drop_attrs(), bits(tmp_path / "s.zarr").drop_attrs())


def check_values_beside_results(found: xr.Dataset) -> np.ndarray:
    """No run is done without the values of its trial; returns those, the ones of the first trials."""
    values = found.leader_lr.values
    chosen = values[np.isfinite(values)]
    assert np.isfinite(values[: len(chosen)]).all()
    assert not (found.status[len(chosen) :] == Status.DONE).any()
    return chosen


@pytest.mark.parametrize("after", [1, 17, 41])
def test_interrupted_search_goes_on_with_the_same_candidates(
    client: Client, whole: Path, tmp_path: Path, after: int
) -> None:
    store = tmp_path / "s.zarr"
    with pytest.raises(EnoughError):
        execute(search(), SweepOptions(store, 1), Stopper(after), client=client)
    before = bits(store)
    assert 0 < int((before.status == Status.DONE).sum()) < 56
    chosen = check_values_beside_results(before)
    assert len(chosen) < 14
    run(client, search(), store)
    np.testing.assert_array_equal(chosen, bits(store).leader_lr[: len(chosen)])
    xr.testing.assert_equal(bits(whole), bits(store))


@pytest.mark.parametrize("text", [SEARCH, RANDOM], ids=["tpe", "random"])
def test_extended_search_is_that_of_one_go(client: Client, tmp_path: Path, text: str) -> None:
    run(client, search(text, search__trials=3), tmp_path / "s.zarr")
    told = run(client, search(text, search__trials=12), tmp_path / "s.zarr")
    assert (told.plans[0].done, len(told.plans[0].pending), told.plans[0].followers_to_train) == (12, 36, 0)
    run(client, search(text, search__trials=12), tmp_path / "whole.zarr")
    xr.testing.assert_equal(bits(tmp_path / "whole.zarr"), bits(tmp_path / "s.zarr"))


def test_values_of_the_store_win(client: Client, tmp_path: Path) -> None:
    """A library that chooses otherwise than the one that began the search must not part values and results."""
    for text in (SEARCH, RANDOM):
        store = tmp_path / f"{text == SEARCH}.zarr"
        with ResultsWriter(store, search(text)) as writer:
            writer.record_tried(2, {"leader_lr": 0.123})
        run(client, search(text, search__trials=4), store)
        found = bits(store)
        assert found.leader_lr[2] == 0.123
        run(
            client, search(text, search__trials=1, search__start="[{leader.lr: 0.123}]"), tmp_path / f"{store.name}.one"
        )
        np.testing.assert_array_equal(found.leader_policy[2], bits(tmp_path / f"{store.name}.one").leader_policy[0])


def recorded(trials: Trials, writer: ResultsWriter, trial: int, error: str = "") -> None:
    """The runs of a trial come back, one after the other."""
    for rest in np.ndindex(2, 2):
        writer.leaders.record((trial, *rest), TrainingResult({"leader_return_sampled": np.ones(4)}, error))
        trials.recorded((trial, *rest))


def started_trials(trials: Trials, writer: ResultsWriter) -> list[int]:
    """The trials of the runs that can start now."""
    found = []
    while pack := trials.next_pack():
        for index, _ in pack:
            writer.leaders.mark_running(index)
            found.append(index[0])
    return sorted(set(found))


def trials_of(spec: SweepSpec, writer: ResultsWriter, *, retry_failed: bool = False) -> Trials:
    status, followers = writer.leaders.status, writer.followers
    assert spec.search is not None
    assert followers is not None
    plan = make_plan(spec, status, followers.status, retry_failed=retry_failed, runs_per_task=3, threads=2)
    return Trials(spec.search, plan, writer, lambda message: None, lambda spec: plan.runs_per_task)


def test_trials_wait_for_those_that_they_learn_from(tmp_path: Path) -> None:
    spec = search()
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        trials = trials_of(spec, writer)
        assert started_trials(trials, writer) == [0, 1]
        recorded(trials, writer, 1)
        writer.flush()
        assert started_trials(trials, writer) == []  # trial 2 learns from trial 0, and not from trial 1
        assert not trials.awaits_flush
        recorded(trials, writer, 0)
        assert started_trials(trials, writer) == []
        assert trials.awaits_flush
        writer.flush()
        assert not trials.awaits_flush
        assert started_trials(trials, writer) == [2, 3]
        for trial in range(2, 14):
            recorded(trials, writer, trial)
            writer.flush()
            started_trials(trials, writer)
        assert not trials.awaits_flush
        assert trials.next_pack() is None


def test_failed_trials_that_are_tried_again_are_told_afterwards(tmp_path: Path) -> None:
    spec = search()
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        first = trials_of(spec, writer)
        assert started_trials(first, writer) == [0, 1]
        recorded(first, writer, 0, error="no luck")
        recorded(first, writer, 1)
        writer.flush()
        assert started_trials(trials_of(spec, writer), writer) == [2, 3]
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        again = trials_of(spec, writer, retry_failed=True)
        assert started_trials(again, writer) == [0]
        recorded(again, writer, 0)
        assert started_trials(again, writer) == []
        writer.flush()
        assert started_trials(again, writer) == [2, 3]


def test_nothing_is_told_before_it_is_durable_or_twice(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told, asked = tmp_path / "s.zarr", [], []
    tell, ask = TPE.tell, TPE.ask

    def observed_tell(self: TPE, trial: int, objective: float | None) -> None:
        on_disk = bits(store).isel(trial=trial)  # as another process sees it at this moment
        assert (on_disk.status == Status.DONE).all()
        expected = on_disk.leader_return_sampled.mean().item()
        assert objective == pytest.approx(expected, rel=1e-6)
        told.append(trial)
        tell(self, trial, objective)

    def observed_ask(self: TPE, chosen: Any) -> Any:
        asked.append(len(told))
        return ask(self, chosen)

    monkeypatch.setattr(TPE, "tell", observed_tell)
    monkeypatch.setattr(TPE, "ask", observed_ask)
    run(client, search(), store, runs_per_task=1)
    assert told == list(range(12))  # nothing is chosen after the last two
    assert asked == [max(0, trial - 1) for trial in range(14)]  # trial k sees those up to k - at_once


FAILING = SEARCH.replace("  start: [{leader.lr: 0.5}]\n", "")
SPACE = "{leader.lr: {choices: [0.5, 1.7e+308]}}"  # of which the second overflows


def test_failed_candidate_is_told_as_failed_and_the_search_goes_on(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[int, float | None] = {}
    tell = TPE.tell
    monkeypatch.setattr(TPE, "tell", lambda self, k, value: (told.update({k: value}), tell(self, k, value))[1])
    spec, store = search(FAILING, search__space=SPACE), tmp_path / "s.zarr"
    warnings = run(client, spec, store).warnings
    found = bits(store)
    failed = (found.leader_lr > 1).values
    assert 0 < failed.sum() < 14
    assert (found.status == xr.where(found.leader_lr > 1, Status.FAILED, Status.DONE)).all()
    assert [value is None for value in told.values()] == failed[:12].tolist()
    first = int(np.flatnonzero(failed)[0])
    assert warnings[0] == f"trial {first} (leader.lr=1.7e+308) counts as failed: 4 of its 4 runs failed or were blocked"
    assert len(warnings) == failed[:12].sum()

    told.clear()
    retried = run(client, spec, store, retry_failed=True)
    assert len(retried.plans[0].pending) == 4 * failed.sum()
    assert list(told) == list(range(12))
    xr.testing.assert_equal(found, bits(store))


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_search_goes_on_past_trials_that_are_blocked(client: Client, tmp_path: Path, method: str) -> None:
    """Every follower regrets something: no leader starts, and all candidates are tried none the less, once each."""
    text, store = SEARCH if method == "tpe" else RANDOM, tmp_path / "s.zarr"
    spec = search(text, follower__max_regret=0.0, search__trials=6)
    for _ in range(2):  # blocked runs are looked at again, as more regret may be allowed by then
        told = run(client, spec, store)
        found = bits(store)
        assert (found.status == Status.BLOCKED).all()
        assert found.leader_lr.notnull().all()
        warned = [line for line in told.warnings if "counts as failed: 4 of its 4 runs failed or were blocked" in line]
        assert len(warned) == (4 if method == "tpe" else 0)  # nothing is chosen after the last two
    with xr.open_zarr(store) as results:
        assert best_trials(results).objective.isnull().all()
    run(client, search(text, follower__max_regret=1e9, search__trials=6), store)
    after = bits(store)
    assert (after.status == Status.DONE).all()
    np.testing.assert_array_equal(after.leader_lr, found.leader_lr)


@pytest.mark.parametrize(("rates", "status"), [("[1.6e+308, 1.7e+308]", Status.FAILED), ("[0.1, 1]", Status.DONE)])
def test_search_without_axes_ends_whatever_comes_of_it(
    client: Client, tmp_path: Path, rates: str, status: Status
) -> None:
    text = FAILING[: FAILING.index("axes:")] + "matrix: chicken\n"
    spec = search(text, search__space=f"{{leader.lr: {{choices: {rates}}}}}", search__trials=5)
    watcher = run(client, spec, tmp_path / "s.zarr")
    found = bits(tmp_path / "s.zarr")
    assert found.status.dims == ("trial",)
    assert (found.status == status).all()
    assert len(watcher.warnings) == (3 if status == Status.FAILED else 0)


def test_search_over_several_kinds_of_settings(client: Client, tmp_path: Path) -> None:
    """Whole numbers, numbers and truth values, of the leader and the follower, one of which shapes the pack."""
    text = SEARCH.replace("updates: 4, batch_steps: 20}", "updates: 4}").replace(", batch_steps: 20, post", ", post")
    space = (
        "{leader.batch_steps: {low: 2, high: 30, log: true}, follower.early_stop: {choices: [true, false]}, "
        "follower.lr: {low: 0.01, high: 0.1}}"
    )
    spec = search(text.replace("  start: [{leader.lr: 0.5}]\n", ""), search__space=space)
    run(client, spec, tmp_path / "s.zarr", runs_per_task=4)
    found, followers = bits(tmp_path / "s.zarr"), bits(tmp_path / "s.zarr", "followers")
    assert followers.status.dims == ("trial", "matrix", "seed")
    for name in ("leader_batch_steps", "follower_early_stop", "follower_lr"):
        xr.testing.assert_equal(found[name], followers[name])
        assert found[name].dtype == np.float64
    steps = 5 * np.ceil(found.leader_batch_steps / 5)  # whole episodes of three queries and two rounds
    assert len(np.unique(steps)) > 2
    assert (found.env_steps.isel(iteration=0) == steps).all()
    assert set(found.follower_early_stop.values.tolist()) == {0.0, 1.0}
    before = bits(tmp_path / "s.zarr")
    more = search(text.replace("  start: [{leader.lr: 0.5}]\n", ""), search__space=space, search__trials=16)
    run(client, more, tmp_path / "s.zarr")  # the values of the store are settings again
    xr.testing.assert_equal(before, bits(tmp_path / "s.zarr").isel(trial=slice(14)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"search__seed": 3}, "search.seed was 0, is now 3; change it back, or name another --store"),
        ({"search__at_once": 3}, "search.at_once was 2, is now 3"),
        ({"search__objective": "leader_return"}, 'objective was "leader_return_sampled", is now "leader_return"'),
        ({"search__space": LR.replace("1.0,", "0.9,")}, 'search.space.leader.lr was {"high": 1.0'),
        ({"search__start": "[]"}, 'search.start was [{"leader.lr": 0.5}], is now []'),
    ],
)
def test_other_search_is_refused_by_name(whole: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(StoreError) as caught:
        stackpop.run_sweep(search(**change), store=whole, scheduler="tcp://127.0.0.1:1")
    assert words in str(caught.value)


def test_grid_and_search_do_not_mix(whole: Path) -> None:
    grid = SEARCH[: SEARCH.index("search:")] + SEARCH[SEARCH.index("axes:") :]
    with pytest.raises(StoreError, match=r"the axes of the leaders were \['trial', 'matrix', 'seed'\], are now"):
        stackpop.run_sweep(search(grid), store=whole, scheduler="tcp://127.0.0.1:1")


def test_finished_search_needs_no_cluster(whole: Path) -> None:
    for trials in (14, 9):
        options = SweepOptions(whole, cluster=ClusterOptions(scheduler="tcp://127.0.0.1:1"))
        assert execute(search(search__trials=trials), options).done == 4 * trials


def test_plan_and_estimate_know_how_much_can_run_at_once(tmp_path: Path) -> None:
    def options(runs_per_task: Any) -> SweepOptions:
        return SweepOptions(tmp_path / "s.zarr", runs_per_task, cluster=ClusterOptions(workers=2))

    plans = {
        (text, runs): estimate(search(text), options(runs)).plan for text in (SEARCH, RANDOM) for runs in ("auto", 100)
    }
    assert plans[SEARCH, "auto"].runs_per_task == 4  # two trials of four runs, on two workers
    assert plans[SEARCH, 100].runs_per_task == 8
    assert plans[SEARCH, 100].most_tasks_at_once == 1
    assert plans[RANDOM, "auto"].runs_per_task == 28
    assert not (tmp_path / "s.zarr").exists()


def test_missing_optuna_is_one_line_and_only_tpe_needs_it(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SpecError) as caught:
        stackpop.run_sweep(search(), store=tmp_path / "s.zarr", client=client)
    expected = "expected an installed method, got tpe without the package optuna; install stackpop[search], or use"
    assert expected in str(caught.value)
    assert not (tmp_path / "s.zarr").exists()
    run(client, search(RANDOM, search__trials=2), tmp_path / "random.zarr")


def test_optuna_is_not_imported_unless_asked_for() -> None:
    code = "import sys, stackpop.cli, stackpop.sweep, stackpop.display; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- what is printed


def test_best_trials_come_first(tmp_path: Path) -> None:
    spec = search(search__trials=4)
    returns = {0: 1.0, 1: 3.0, 2: 2.0, 3: 9.0}
    with ResultsWriter(tmp_path / "s.zarr", spec) as writer:
        for index in spec.indices():
            trial, matrix, seed = index
            if index == (3, 1, 1):
                continue  # so trial 3 is not done
            curve = np.array([100.0, returns[trial] + matrix + seed, returns[trial] + matrix + seed])
            writer.leaders.record(index, TrainingResult({"leader_return_sampled": curve}))
            writer.record_tried(trial, {"leader_lr": 0.1 * (trial + 1)})
    found = best_trials(stackpop.open_results(tmp_path / "s.zarr"), window=2)
    assert found.trial.values.tolist() == [1, 2, 0, 3]
    assert found.objective.values.tolist()[:3] == [4.0, 3.0, 2.0]  # half a point each for the matrix and the seed
    assert found.leader_lr.values.tolist() == pytest.approx([0.2, 0.3, 0.1, 0.4])
    assert found.low.values.tolist()[:3] == [3.5, 2.5, 1.5]  # seeds are the unit of replication
    assert found.high.values.tolist()[:3] == [4.5, 3.5, 2.5]
    assert found.done.values.tolist() == [4, 4, 4, 3]
    assert found.runs.values.tolist() == [4, 4, 4, 4]
    assert found.drop_vars("done").isel(trial=3).to_array().isnull().sum() == 3


def test_table_ranks_by_what_the_search_was_told(whole: Path) -> None:
    results = stackpop.open_results(whole)
    found = best_trials(results)
    expected = final(results.leader_return_sampled).mean(["matrix", "seed"]).load()
    np.testing.assert_allclose(found.objective, expected.sel(trial=found.trial), rtol=1e-6)
    assert (np.diff(found.objective) <= 0).all()


def test_command_searches_resumes_and_ends_with_a_table(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SEARCH)
    arguments = ["sweep", "tiny.yaml", "--store", "s.zarr", "--workers", 1, "--runs-per-task", "auto"]
    short = command(*arguments, "--set", "search.trials=2", cwd=tmp_path)
    assert (short.code, short.err) == (0, "")
    answer = command(*arguments, "--set", "search.trials=4", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "search     tpe over leader.lr for the highest leader_return_sampled, 2 trials at once" in answer.out
    assert "8 already done, 8 to train" in answer.out
    rows = [line.split() for line in answer.out.splitlines() if line.strip().endswith("4/4")]
    assert sorted(int(row[0]) for row in rows) == [0, 1, 2, 3]
    assert ["0", "0.5"] in [row[:2] for row in rows]
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    status = command("status", "s.zarr", cwd=tmp_path)
    assert "16 done, 0 failed of 16 (4 trial × 2 matrix × 2 seed)" in status.out


LONG = SEARCH.replace("pg, updates: 4", "pg, updates: 400")


@pytest.fixture(scope="module")
def whole_long(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a search that takes a while, in one go."""
    store = tmp_path_factory.mktemp("long") / "s.zarr"
    run(client, search(LONG), store)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("done", [3, 18, 41])
def test_killed_client_loses_no_candidate(whole_long: Path, tmp_path: Path, done: int) -> None:
    (tmp_path / "tiny.yaml").write_text(LONG)
    arguments = ["sweep", "tiny.yaml", "--workers", 2, "--quiet", "--store", "s.zarr"]
    store = tmp_path / "s.zarr"
    with started(sys.executable, "-m", "stackpop", *arguments, cwd=tmp_path) as process:
        until(lambda: store.exists() and read_progress(store).leaders.counts[Status.DONE] >= done)
        process.kill()
        process.wait()
    before = bits(store)
    chosen = check_values_beside_results(before)
    assert 0 < len(chosen) < 14
    assert (before.status != Status.DONE).any()
    assert command(*arguments, cwd=tmp_path) == Answer(0, "", "")
    np.testing.assert_array_equal(chosen, bits(store).leader_lr[: len(chosen)])
    xr.testing.assert_equal(bits(whole_long), bits(store))
