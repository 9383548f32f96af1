"""What can be wrong with a store at a URL is told in one line, without the login."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from command import free_port
from s3_server import KEY, SECRET, Proxy, Refused, check_logins, deaf
from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, open_results, read_progress, store_exists
from toy_store import Sweep, fill, leader_result

USES: list[Any] = [open_results, read_progress, store_exists, lambda place: ResultsWriter(place, Sweep())]


@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_is_not_there(at: str, use: Any) -> None:
    check_refusal(use, "s3://no-such-bucket/x.zarr", "expected a bucket 'no-such-bucket', got none; make it, or check")


@pytest.mark.parametrize("use", USES)
def test_credentials_that_are_refused(url: str, at: str, use: Any) -> None:
    check_logins(at, known=True)
    try:
        check_refusal(
            use, url, "in the environment, got '(InvalidAccessKeyId|403 Forbidden)'; check AWS_ACCESS_KEY_ID and"
        )
    finally:
        check_logins(at, known=False)


@pytest.mark.parametrize("use", USES)
def test_credentials_that_are_missing(url: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    check_refusal(use, url, "accepts, in the environment, got none; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


@pytest.mark.parametrize("use", USES)
def test_a_server_that_is_not_there(url: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.store.objects._RETRY", {"max_retries": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    check_refusal(use, url, r"expected an answer from http://127.0.0.1:\d+ \(AWS_ENDPOINT_URL\), got none; check the")


@pytest.mark.parametrize("use", USES)
def test_a_server_that_does_not_answer(url: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.store.objects._REQUEST", timedelta(seconds=0.3))
    monkeypatch.setattr("stackpop.store.objects._RETRY", {"max_retries": 1})
    with deaf() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        check_refusal(use, url, r"expected an answer from http://127.0.0.1:\d+ \(AWS_ENDPOINT_URL\), got none")


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "http://h:x", f"http://user:{SECRET}@127.0.0.1:9"])
def test_an_endpoint_that_is_no_address(url: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    check_refusal(read_progress, url, "AWS_ENDPOINT_URL: expected the address of a server, got ")


def check_refusal(use: Any, url: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(StoreError, match=message) as caught:
        use(url)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    assert KEY not in text
    assert time.monotonic() - begun < 20


def test_an_outage_between_reading_the_root_and_the_data_is_one_line(url: str, through: Proxy) -> None:
    fill(url, Sweep())
    results = open_results(url)

    def cut(number: int, method: str, path: str) -> None:
        raise Refused

    through.before = cut
    with pytest.raises(StoreError, match="expected working storage, got '400 Bad Request'; check") as caught:
        results.entropy.load()
    assert "\n" not in str(caught.value)


def test_a_flush_that_failed_is_made_up_for(url: str, through: Proxy) -> None:
    def cut(number: int, method: str, path: str) -> None:
        raise Refused

    with ResultsWriter(url, Sweep()) as writer:
        writer.leaders.record((0, 0), leader_result(0))
        through.before, known = cut, through.before
        with pytest.raises(StoreError, match="400 Bad Request"):
            writer.flush()
        assert writer.leaders.status[0, 0] == Status.PENDING
        through.before = known
    assert read_progress(url).leaders.counts[Status.DONE] == 1
