"""Searches on a real small cluster: neither timing nor interruptions change their candidates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import stackpop
from searching import EnoughError, Stopper, check_values_beside_results, run
from small_search import LR, RANDOM, SEARCH, search
from stackpop.analysis import best_trials, final
from stackpop.cluster import ClusterOptions
from stackpop.errors import SpecError, StoreError
from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status
from stackpop.sweep import SweepOptions, execute
from stackpop.sweep.estimate import estimate
from stackpop.sweep.search import TPE
from stores import bits

# ---------------------------------------------------------------- sweeps


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


@pytest.mark.parametrize("after", [1, 17, 33])
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
