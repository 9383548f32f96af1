"""No instant at which a writer of a store at a URL ends spoils it."""

from __future__ import annotations

import numpy as np
import pytest

from buckets import objects
from s3_server import BUCKET, Proxy, Refused, login, proxy
from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, open_results, store_exists
from stackpop.store import lease as leases
from toy_store import GAMES, VICTIM, WIDE, Sweep, check_intact, kill_python, leader_result


@pytest.fixture(scope="module")
def requests_of_two_parts(s3: str) -> int:
    with proxy(s3) as state, pytest.MonkeyPatch.context() as patch:
        for name, value in login(state.address).items():
            patch.setenv(name, value)
        record_two_parts(f"s3://{BUCKET}/cut/whole.zarr")
        return len(state.requests)


@pytest.mark.slow
@pytest.mark.parametrize("part", np.linspace(0.02, 0.98, 7).round(2))
def test_a_writer_cut_off_at_any_request_leaves_none_or_a_whole_store(
    part: float, requests_of_two_parts: int, at: str, through: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that storage sees of a kill: requests up to some instant, and none afterwards."""
    url = f"s3://{BUCKET}/cut/{part}/toy.zarr"
    last = round(part * requests_of_two_parts)

    def cut(number: int, method: str, path: str) -> None:
        if number > last:
            raise Refused

    through.before = cut
    with pytest.raises(StoreError):
        record_two_parts(url)
    through.before = lambda number, method, path: None
    if store_exists(url):
        check_done(url)
    monkeypatch.setattr(leases, "is_gone", lambda process: True)  # as it is after a kill
    record_two_parts(url)
    assert check_done(url) == 6
    assert all(".zarr/" in name for name in objects(url, at)), "nothing is left beside it"


def record_two_parts(url: str) -> None:
    """Record all runs with a flush in between, the second half into a longer store."""
    for sweep, indices in (
        (Sweep(labels={"matrix": GAMES, "seed": (1,)}), [(0, 0), (1, 0), (2, 0)]),
        (Sweep(), [(0, 1), (1, 1), (2, 1)]),
    ):
        with ResultsWriter(url, sweep) as writer:
            for index in indices:
                if writer.leaders.status[index] != Status.DONE:
                    writer.leaders.record(index, leader_result(index[0] + 10 * index[1]))
            writer.flush()


def check_done(url: str) -> int:
    """Every run that is done is complete; how many there are."""
    ds = open_results(url).load()
    done = np.argwhere(ds.status.values == Status.DONE)
    for matrix, seed in done:
        expected = leader_result(matrix + 10 * seed).arrays
        for name in ("leader_policy", "env_steps", "entropy"):
            np.testing.assert_array_equal(ds[name].values[matrix, seed], expected[name])
    return len(done)


@pytest.mark.slow
def test_a_writer_killed_at_any_instant_is_taken_over_at_once(at: str) -> None:
    """The same as for a folder, in real processes, against their own clock."""
    done, url = 0, f"s3://{BUCKET}/killed/toy.zarr"
    for seconds in (*np.random.default_rng(2).uniform(0.2, 1.5, 4), 6, 24):
        if done and seconds > 2:
            break  # only a slow machine needs so long to flush once
        kill_python(VICTIM, url, seconds=seconds)
        if store_exists(url):
            now = check_intact(url)
            assert now >= done
            done = now
    with ResultsWriter(url, WIDE) as writer:
        assert not (writer.leaders.status == Status.RUNNING).any()
    assert check_intact(url) >= done > 0
