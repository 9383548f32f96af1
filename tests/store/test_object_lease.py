"""A store at a URL has one writer at a time, by a lease."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest

from buckets import objects, put
from command import until
from s3_server import Proxy, Refused
from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, read_progress
from stackpop.store import lease as leases
from stackpop.store.location import WriterInfo, locate
from toy_store import Sweep, fill, leader_result


def test_a_second_writer_of_a_url_is_told_who_holds_it(url: str, at: str) -> None:
    with ResultsWriter(url, Sweep()) as writer:
        with pytest.raises(
            StoreError, match=rf"expected no other writer, got process {os.getpid()} on .* since 20"
        ) as no:
            ResultsWriter(f"{url}/", Sweep())
        assert "if it was killed: its lease ends in" in str(no.value)
        assert "\n" not in str(no.value)
        writer.leaders.record((0, 0), leader_result(0))
    assert {name for name in objects(url, at) if "lock" in name} == set()
    assert read_progress(url).leaders.counts[Status.DONE] == 1


STRANGER = leases.Holding(WriterInfo(7, "elsewhere", "2026-01-01T00:00:00+00:00"), "another-boot/pid:[1] 7 99", "t")


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_over_at_once(url: str, at: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        machine = leases.this_process().partition(" ")[0]
        process = f"{machine} {child.pid} {leases._started(child.pid)}"
        put(f"{url}.lock", at, replace(STRANGER, process=process).encode())
        with pytest.raises(StoreError, match="got process 7 on elsewhere"):
            ResultsWriter(url, Sweep())
        child.kill()
        child.wait()
    assert locate(url).writer() is None
    fill(url, Sweep())


def test_another_machine_keeps_its_lease_until_it_ends(url: str, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(f"{url}.lock", at, STRANGER.encode())
    with pytest.raises(StoreError, match=r"got process 7 on elsewhere .*its lease ends in \d+ s"):
        ResultsWriter(url, Sweep())
    assert locate(url).writer() == STRANGER.writer
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    time.sleep(2.1)  # the server tells whole seconds
    assert locate(url).writer() is None
    fill(url, Sweep())


def test_a_writer_that_lost_its_lease_stops(url: str, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.0)
    writer = ResultsWriter(url, Sweep())
    put(f"{url}.lock", at, STRANGER.encode())
    before = objects(url, at)
    writer.leaders.record((0, 0), leader_result(0))
    for act in (writer.flush, writer.flush, writer.close):
        with pytest.raises(
            StoreError, match="expected to stay its writer, got it taken over by process 7 on elsewhere"
        ):
            act()
    assert objects(url, at) == before, "nor is the lock of the other deleted"


def test_a_lease_is_renewed_and_outlives_an_outage(
    url: str, at: str, through: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(number: int, method: str, path: str) -> None:
        raise Refused

    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    with ResultsWriter(url, Sweep()) as writer:
        first = objects(f"{url}.lock", at)
        until(lambda: objects(f"{url}.lock", at) != first, seconds=10)
        through.before, known = cut, through.before
        time.sleep(0.3)
        through.before = known
        second = objects(f"{url}.lock", at)
        until(lambda: objects(f"{url}.lock", at) != second, seconds=10)
        writer.leaders.record((0, 0), leader_result(0))
    assert read_progress(url).leaders.counts[Status.DONE] == 1


@pytest.mark.parametrize("header", ["if-none-match", "if-match"])
def test_storage_that_ignores_conditions_is_refused(url: str, at: str, through: Proxy, header: str) -> None:
    through.drop = (header,)
    with pytest.raises(
        StoreError, match=r"expected storage that honours If-None-Match and If-Match, .*one that does not"
    ):
        ResultsWriter(url, Sweep())
    assert objects(url, at) == {}


def test_a_late_write_of_a_former_writer_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    former = ResultsWriter(url, Sweep())
    former.leaders.record((0, 0), leader_result(0))
    former.flush()
    monkeypatch.setattr(leases, "is_gone", lambda process: True)
    with ResultsWriter(url, Sweep()) as writer:
        writer.leaders.record((0, 1), leader_result(1))
    array = former.leaders._arrays["status"]._array
    for status in (Status.FAILED, Status.PENDING):  # the latter is what is nowhere, so the object would go
        with pytest.raises(StoreError, match="status/c/0/0: expected one writer, got changes by another"):
            array[...] = np.full(array.shape, status, np.int8)
    former._lock.release()
    assert read_progress(url).leaders.counts[Status.DONE] == 2
