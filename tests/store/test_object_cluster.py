"""A cluster without a shared disk: a sweep into a bucket."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import xarray as xr

from buckets import objects
from command import TINY, scheduler, stackpop, started, until, worker
from s3_server import BUCKET, KEY, SECRET, login
from stackpop.store import Status, open_results, read_progress, store_exists

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
        assert 0 < done <= 4
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
