"""Stores at URLs, in a real S3 server: as good as a folder, one writer at a time, and no instant that spoils them."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
import xarray as xr
from obstore.store import S3Store

from command import TINY, scheduler, stackpop, started, until, worker
from s3_server import BUCKET, KEY, SECRET, Proxy, Refused, check_logins, deaf, free_port, login, proxy, server
from stackpop.errors import StoreError
from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status, open_results, read_progress, read_statuses, store_exists
from stackpop.store import lease as leases
from stackpop.store.location import WriterInfo, locate
from test_store import GAMES, VICTIM, WIDE, Sweep, check_intact, fill, follower_result, kill_python, leader_result


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture
def at(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, with a login for it in the environment."""
    for name, value in login(s3).items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def url(at: str, request: pytest.FixtureRequest) -> str:
    """Where a test keeps its store."""
    return f"s3://{BUCKET}/{request.node.name.translate(str.maketrans('[]/:', '____'))}/toy.zarr"


@pytest.fixture
def through(at: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The same server behind a proxy."""
    with proxy(at) as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.address)
        yield state


def objects(url: str, address: str) -> dict[str, bytes]:
    """Everything in the bucket whose name begins like the store's."""
    bucket = S3Store(BUCKET, config={"endpoint": address}, client_options={"allow_http": True})
    prefix = url.removeprefix(f"s3://{BUCKET}/")
    folder = prefix.rpartition("/")[0]
    names = [found["path"] for batch in obstore.list(bucket, folder) for found in batch]
    return {name: bytes(obstore.get(bucket, name).bytes()) for name in names if name.startswith(prefix)}


def put(url: str, address: str, content: bytes) -> None:
    bucket = S3Store(BUCKET, config={"endpoint": address}, client_options={"allow_http": True})
    obstore.put(bucket, url.removeprefix(f"s3://{BUCKET}/"), content)


LONGER = Sweep(labels={"matrix": (*GAMES, "hero"), "seed": (1, 2, 3)})


# --- as good as a folder --------------------------------------------------------------------------------------------


def test_a_url_holds_what_a_folder_holds_and_plain_xarray_reads_it(url: str, at: str, tmp_path: Path) -> None:
    for place in (url, tmp_path / "toy.zarr"):
        fill(place, Sweep())
        with ResultsWriter(place, LONGER) as writer:
            assert (writer.leaders.status == Status.DONE).sum() == 6
            writer.leaders.record((3, 2), leader_result(77))
            assert writer.followers is not None
            writer.followers.record((0, 1), follower_result(5))
            writer.record_ground_truth((1,), {"equilibrium_pure": 30.0})
            writer.flush()
            np.testing.assert_array_equal(
                writer.followers.read((0, 1))["follower_logits"], follower_result(5).arrays["follower_logits"]
            )
    for group in (None, "followers"):
        expected = open_results(tmp_path / "toy.zarr", group).load().drop_attrs(deep=False)
        plain = xr.open_zarr(url, group=group, storage_options={"endpoint_url": at}).load().drop_attrs(deep=False)
        xr.testing.assert_identical(open_results(url, group).load().drop_attrs(deep=False), expected)
        xr.testing.assert_identical(plain, expected)
    kinds = {name.partition("toy.zarr")[2].partition("/")[0] for name in objects(url, at)}
    assert kinds == {""}, "nothing is left beside the store"


def test_progress_and_plans_are_read_from_a_url_while_a_writer_writes(url: str) -> None:
    assert not store_exists(url)
    assert (read_statuses(url, Sweep())[0] == Status.PENDING).all()
    with ResultsWriter(url, Sweep()) as writer:
        writer.leaders.mark_running((0, 0))
        writer.leaders.record((0, 1), leader_result(1))
        writer.flush()
        progress = read_progress(url)
        assert progress.writer is not None
        assert (progress.writer.pid, progress.writer.host) == (os.getpid(), socket.gethostname())
        assert (progress.leaders.counts[Status.RUNNING], progress.leaders.counts[Status.DONE]) == (1, 1)
    assert store_exists(url)
    assert read_progress(url).writer is None
    assert read_statuses(url, Sweep())[0].ravel().tolist()[:2] == [Status.PENDING, Status.DONE]


def test_results_travel_to_other_processes_without_the_login(url: str) -> None:
    fill(url, Sweep())
    results = open_results(url)
    content = pickle.dumps(results)
    assert SECRET.encode() not in content
    xr.testing.assert_identical(pickle.loads(content).load(), results.load())


def test_a_file_url_is_the_folder(tmp_path: Path) -> None:
    fill(f"file://{tmp_path}/a%20b.zarr", Sweep())
    assert read_progress(tmp_path / "a b.zarr").leaders.counts[Status.DONE] == 6


def test_what_is_not_ours_in_a_bucket_is_refused_and_left_alone(url: str, at: str) -> None:
    put(f"{url}/notes.txt", at, b"keep me")
    for use in (open_results, read_progress, lambda place: ResultsWriter(place, Sweep())):
        with pytest.raises(StoreError, match="expected a Zarr store, got objects without valid Zarr v3 metadata"):
            use(url)
    assert list(objects(url, at).values()) == [b"keep me"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ftp://host/x.zarr",
            "expected a path, or a URL with s3://, gs://, az:// or file:///, got 'ftp://host/x.zarr'",
        ),
        ("memory:///x.zarr", "expected a path, or a URL with"),
        ("s3://bucket", "expected s3://bucket/name.zarr, got 's3://bucket'"),
        ("s3:///x.zarr", "expected s3://bucket/name.zarr"),
        ("s3://bucket/../x.zarr", "expected s3://bucket/name.zarr"),
        ("s3://KEY:WORD@bucket/x.zarr", "expected a URL without a login"),
        ("s3://bucket/x.zarr?token=WORD", "expected a URL without a login"),
    ],
)
def test_urls_that_name_no_store_are_refused_in_one_line(name: str, message: str) -> None:
    for use in (open_results, read_progress, lambda place: ResultsWriter(place, Sweep())):
        with pytest.raises(StoreError, match=message.replace("?", r"\?")) as caught:
            use(name)
        assert "\n" not in str(caught.value)
        assert "WORD" not in str(caught.value)


def test_one_store_has_one_name() -> None:
    assert str(locate("s3://bucket/a/b.zarr/")) == "s3://bucket/a/b.zarr"
    assert locate("a/../b.zarr") == locate("b.zarr")


# --- one writer -----------------------------------------------------------------------------------------------------


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
    array = former.leaders._arrays["status"]
    for status in (Status.FAILED, Status.PENDING):  # the latter is what is nowhere, so the object would go
        with pytest.raises(StoreError, match="status/c/0/0: expected one writer, got changes by another"):
            array[...] = np.full(array.shape, status, np.int8)
    former._lock.release()
    assert read_progress(url).leaders.counts[Status.DONE] == 2


# --- any instant ----------------------------------------------------------------------------------------------------


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


# --- what can be wrong ----------------------------------------------------------------------------------------------

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


def test_unfinished_runs_are_kept_in_a_bucket_until_they_end(url: str, at: str) -> None:
    def kept() -> list[str]:
        return [name for name in objects(url, at) if "/unfinished/" in name]

    states = [TrainingResult({"made": np.array(3), "x": np.full(2, k)}, unfinished=True) for k in range(2)]
    with ResultsWriter(url, Sweep()) as writer:
        writer.unfinished.record(["a", "b"], states)
        assert len(kept()) == 1
    with ResultsWriter(url, Sweep()) as writer:
        known = writer.unfinished.known("b")
        assert known is not None
        assert known.arrays["x"].tolist() == [1, 1]
        writer.unfinished.ended(["a", "b"])
    assert kept() == []


def test_the_package_for_object_stores_is_loaded_for_urls_only(tmp_path: Path) -> None:
    code = "import sys; sys.modules['obstore'] = None\n" + (
        "from test_store import *\n"
        "fill(sys.argv[1], Sweep()); read_progress(sys.argv[1])\n"
        "try: read_progress('s3://bucket/x.zarr')\n"
        "except StoreError as error: print(error)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, tmp_path / "x.zarr"]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert answer.stdout == (
        "store at a URL: expected the package obstore, got none; install the extra: pip install 'stackpop[cloud]'\n"
    )


# --- a cluster without a shared disk --------------------------------------------------------------------------------

LONG = TINY.replace("updates: 4", "updates: 1000")
CLAIMED = LONG.replace("seed: [1, 2]", "seed: [1, 2, 3, 4, 5]") + (
    "claims:\n- {text: Leaders earn, left: {variable: leader_return}, relation: greater, right: -1000}\n"
)


@pytest.mark.slow
def test_a_sweep_into_a_bucket_by_workers_that_share_neither_disk_nor_login(at: str, tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    for folder in (home, away):
        folder.mkdir()
    (home / "tiny.yaml").write_text(LONG)
    url, said = f"s3://{BUCKET}/cluster/tiny.zarr", []

    def client(*arguments: object) -> str:
        answer = stackpop(*arguments, "--debug", cwd=home, more=login(at))
        said.append(answer.out + answer.err)
        assert answer.code == 0, answer.err
        return answer.out

    with scheduler(away) as (file, _), worker(file, away):
        cluster = ["--scheduler", json.loads(file.read_text())["address"]]
        sweep = ["sweep", "tiny.yaml", "--store", url, *cluster]
        command = [sys.executable, "-m", "stackpop", *sweep, "--quiet"]
        with started(*command, cwd=home, more=login(at)) as killed:
            until(lambda: store_exists(url) and read_progress(url).leaders.counts[Status.DONE])
            progress = read_progress(url)
            killed.kill()
            killed.wait()
        assert progress.writer is not None
        assert progress.writer.pid == killed.pid
        assert "writing    nobody" in client("status", url)
        done = read_progress(url).leaders.counts[Status.DONE]
        assert 0 < done < 4
        assert f"{done} already done" in client(*sweep)
        (home / "tiny.yaml").write_text(CLAIMED)
        assert "4 already done" in client(*sweep)
        client("sweep", "tiny.yaml", "--store", "local.zarr", *cluster, "--quiet")
    assert "10 done" in client("status", url)
    assert "battle" in client("compare", url, "--over", "matrix")
    assert "Leaders earn" in client("claims", url, "--write", "page.md")
    assert "10 runs logged now" in client("track", url, "--to", "tensorboard")
    assert "10 before" in client("track", url, "--to", "tensorboard")
    assert (home / "results" / "tiny.zarr.tracking").is_dir()

    own = ["worker", "wall_seconds", "started", "finished", "attempts"]
    both = [open_results(place).drop_vars(own).load() for place in (url, home / "local.zarr")]
    xr.testing.assert_identical(*(ds.drop_attrs(deep=False) for ds in both))
    places = {**objects(url, at), **{str(f): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}}
    for name, content in {**places, "what was printed": "".join(said).encode()}.items():
        assert SECRET.encode() not in content, name
        assert KEY.encode() not in content, name
    assert not list(away.rglob("*.zarr"))


@pytest.mark.slow
def test_a_writer_killed_at_any_instant_is_taken_over_at_once(at: str) -> None:
    """The same as for a folder, in real processes, against their own clock."""
    rng, done = np.random.default_rng(2), 0
    url = f"s3://{BUCKET}/killed/toy.zarr"
    for _ in range(4):
        kill_python(VICTIM, url, seconds=rng.uniform(0.2, 1.5))
        if store_exists(url):
            now = check_intact(url)
            assert now >= done
            done = now
    with ResultsWriter(url, WIDE) as writer:
        assert not (writer.leaders.status == Status.RUNNING).any()
    assert check_intact(url) >= done > 0
