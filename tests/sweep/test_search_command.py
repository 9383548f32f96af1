"""The command searches, ends with a table, and goes on after it was killed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from command import Answer, started, until
from command import stackpop as command
from searching import check_values_beside_results, run
from small_search import SEARCH, search
from stackpop.store import Status, read_progress
from stores import bits


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
@pytest.mark.parametrize("done", [3, 17, 33])
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
