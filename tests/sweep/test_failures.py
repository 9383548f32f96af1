"""Runs that fail, are blocked or take too long, games that cannot be solved, and workers that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import stackpop
from command import TINY
from stackpop.cluster import ClusterOptions, Workers
from stackpop.errors import ClusterError
from stackpop.games import Game
from stackpop.store import Status
from stackpop.sweep import SweepOptions, execute
from stores import bits
from tiny_sweep import HUGE, Recorder, run, sweep


def test_the_limit_of_a_run_holds_for_all_its_segments(client: Client, tmp_path: Path) -> None:
    """No segment takes nearly as long as the limit, and each may be over before anybody looks."""
    spec, store = sweep(axes__matrix="[chicken]", leader__updates=100_000, segment=100), tmp_path / "s.zarr"
    progress = execute(spec, SweepOptions(store, run_limit=1.0), client=client)
    assert progress.failed == 2
    errors = stackpop.open_results(store).error.values
    assert all(
        re.match(r"run_limit: expected an end within 1 s, got none after [1-4] s;", each) for each in errors.flat
    )
    assert not (store / "unfinished").exists()


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
