"""Stores at URLs, in a real S3 server, are as good as a folder."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from buckets import objects, put
from s3_server import SECRET
from stackpop.errors import StoreError
from stackpop.results import TrainingResult
from stackpop.store import ResultsWriter, Status, open_results, read_progress, read_statuses, store_exists
from stackpop.store.location import locate
from toy_store import GAMES, Sweep, fill, follower_result, leader_result

LONGER = Sweep(labels={"matrix": (*GAMES, "hero"), "seed": (1, 2, 3)})


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
        "from stackpop.errors import StoreError\n"
        "from stackpop.store import read_progress\n"
        "from toy_store import Sweep, fill\n"
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
