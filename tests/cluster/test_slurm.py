"""Sweeps on a real SLURM: in one allocation, and from a login node; jobs that are cancelled, end or never start.

`pytest -m slurm` runs these, where slurm-wlm and munge are installed (see tests/conftest.py).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from command import Answer, stackpop, started, until
from slurm_daemons import Slurm, slurm_daemons
from stackpop.cluster import Connection, connect
from stackpop.errors import ClusterError
from stackpop.spec import ClusterSpec
from stackpop.spec.cluster import AdaptiveSettings, JobQueueSettings
from stackpop.store import Status, read_progress
from stores import bits

pytestmark = pytest.mark.slurm

DEPLOY = Path(__file__).parents[2] / "deploy" / "slurm"
SWEEP = """\
game: {memory: opponent, rounds: 4}
leader: {algorithm: pg, updates: 300, batch_steps: 200}
follower: {updates: 60, batch_steps: 100, post_updates: 10}
evaluation_episodes: 2
axes:
  matrix: [chicken, battle, harmony]
  seed: [1, 2, 3, 4]
"""
LONG = SWEEP.replace("[1, 2, 3, 4]", str(list(range(1000))))
# A run that is soon done, and one that takes longer than a job may.
ENDLESS = """\
matrix: chicken
game: {memory: opponent, rounds: 4}
leader: {algorithm: pg, batch_steps: 200}
follower: {oracle: exact}
evaluation_episodes: 2
segment: 20
axes:
  leader.updates: [1, 30000]
"""
OPTIONS = {"cores": 1, "memory": "1GB", "interface": "lo"}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_daemons(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(SWEEP)
    assert stackpop("sweep", "sweep.yaml", "--quiet", "--workers", 2, cwd=folder) == Answer(0, "", "")
    return bits(folder / "results" / "sweep.zarr")


@pytest.fixture
def folder(tmp_path: Path, slurm: Slurm) -> Iterator[Path]:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    yield tmp_path
    until(lambda: not slurm.jobs(), 20)  # nothing is left in the queue, however a test went


def done(store: Path) -> int:
    return read_progress(store).leaders.counts[Status.DONE] if store.exists() else 0


def cluster_file(folder: Path, **settings: Any) -> Path:
    """What `deploy/slurm/cluster.yaml` says, with this machine's network and other settings; JSON is YAML."""
    file = folder / "cluster.yaml"
    file.write_text(json.dumps({"kind": "slurm", "jobs": 2, "wait_seconds": 60, **settings, "options": {
        **OPTIONS, "log_directory": str(folder / "logs"), **settings.get("options", {})}}))  # fmt: skip
    return file


def command(cluster: Path) -> list[object]:
    return [sys.executable, "-m", "stackpop", "sweep", "sweep.yaml", "--quiet", "--cluster", cluster]


def answer(slurm: Slurm, folder: Path, words: list[object], timeout: float = 240) -> Answer:
    """A command to its end, where SLURM is found."""
    texts = [str(word) for word in words]
    ended = subprocess.run(
        texts, cwd=folder, env=slurm.environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    return Answer(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def running(slurm: Slurm, folder: Path) -> Callable[..., Any]:
    """Starts a command where SLURM is found."""
    variables = [f"{key}={value}" for key, value in slurm.environment.items() if key.startswith(("SLURM", "DASK"))]
    return lambda words, **options: started("env", *variables, *words, cwd=folder, **options)


# ---------------------------------------------------------------- one allocation


def sbatch(slurm: Slurm, folder: Path, *options: str) -> str:
    """Submit the script as it is, for several nodes; the number of the job."""
    environment = f"ALL,STACKPOP_PYTHON={sys.executable},STACKPOP_INTERFACE=lo"
    words = ["sbatch", "--parsable", f"--export={environment}", "--nodes=2", "--ntasks=2", "--output=out", *options]
    return slurm(*words, DEPLOY / "one_allocation.sbatch", "sweep.yaml", "--quiet", cwd=folder).strip()


def test_everything_in_one_allocation(slurm: Slurm, folder: Path, undisturbed: xr.Dataset) -> None:
    job = sbatch(slurm, folder)
    until(lambda: slurm.state(job) not in ("PENDING", "RUNNING", "COMPLETING"), 240)
    logs = {file.name: file.read_text() for file in [folder / "out", *folder.glob("*.log")]}
    assert slurm.state(job) == "COMPLETED", logs
    assert "tls://127.0.0.1" in logs[f"scheduler-{job}.log"]
    xr.testing.assert_equal(bits(folder / "results" / "sweep.zarr"), undisturbed)
    assert not list(folder.glob(".stackpop*"))  # and with it the key


def test_an_allocation_ends_in_good_order(slurm: Slurm, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(LONG)
    store = folder / "results" / "sweep.zarr"
    first = sbatch(slurm, folder)
    until(lambda: done(store) > 0)
    slurm("scancel", "--batch", "--signal=TERM", first)  # as SLURM does a minute before the end of the walltime
    until(lambda: slurm.state(first) not in ("RUNNING", "COMPLETING"), 40)
    assert "error: stopped; what was finished is recorded" in (folder / "out").read_text()
    progress = read_progress(store)
    assert progress.writer is None
    assert not progress.leaders.counts[Status.RUNNING]


# ---------------------------------------------------------------- a login node submits workers


def test_login_node_with_a_cancelled_job(
    slurm: Slurm, folder: Path, undisturbed: xr.Dataset, running: Callable[..., Any]
) -> None:
    """The script as it is, and its cluster file but for the network."""
    text = (DEPLOY / "cluster.yaml").read_text()
    (folder / "cluster.yaml").write_text(text.replace("jobs: 4", "jobs: 2").replace("ib0", "lo"))
    python, cluster = f"STACKPOP_PYTHON={sys.executable}", f"STACKPOP_CLUSTER={folder / 'cluster.yaml'}"
    words = [python, cluster, DEPLOY / "login_node.sh", "sweep.yaml", "--quiet"]
    store = folder / "results" / "sweep.zarr"
    with (folder / "err").open("w") as err, running(words, stderr=err) as sweep:
        until(lambda: done(store) > 0)
        slurm("scancel", slurm.jobs("RUNNING")[0])
        code = sweep.wait(90)
    assert (code, (folder / "err").read_text()) == (0, "")
    xr.testing.assert_equal(bits(store), undisturbed)


@pytest.fixture
def cluster(slurm: Slurm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Connects to a cluster of jobs, in this process."""
    for key in ("SLURM_CONF", "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT"):
        monkeypatch.setenv(key, slurm.environment[key])
    monkeypatch.setattr("stackpop.cluster.jobqueue.GRACE_SECONDS", 3.0)

    def start(**settings: Any) -> Any:
        options = {**OPTIONS, "log_directory": str(folder / "logs"), **settings.pop("options", {})}
        spec = ClusterSpec(JobQueueSettings(kind="slurm", options=options, **settings))
        return connect(spec, tasks=["leader-chicken"])

    return start


def test_a_lost_job_is_submitted_again_and_once(slurm: Slurm, cluster: Callable[..., Any]) -> None:
    """Of several processes: such a job dask-jobqueue would not miss. The last one, for its name comes again."""
    with cluster(jobs=2, options={"cores": 2}) as connection:
        connection.client.wait_for_workers(4, timeout=60)
        assert connection.supply.threads == 4
        connection.supply.tend()
        first = slurm.jobs()
        slurm("scancel", first[1])
        until(lambda: len(connection.client.nthreads()) == 2)
        until(partial(_tended, connection, 4), 60)
        assert slurm.jobs() == [first[0], str(int(first[1]) + 1)]


def _tended(connection: Connection, workers: int) -> bool:
    connection.supply.tend()
    time.sleep(0.2)
    return len(connection.client.nthreads()) == workers


def test_an_adaptive_cluster_grows_for_a_few_long_tasks(slurm: Slurm, cluster: Callable[..., Any]) -> None:
    """Six tasks of half a second, which Dask takes for granted, would not be worth a second worker."""
    adaptive = AdaptiveSettings(maximum=3, task_seconds=60)
    with cluster(adaptive=adaptive) as connection:
        client: Client = connection.client
        client.wait_for_workers(1, timeout=60)
        assert len(slurm.jobs()) == 1
        futures = [client.submit(time.sleep, 3, key=f"leader-chicken-s{k}-0", pure=False) for k in range(6)]
        until(lambda: len(slurm.jobs()) == 3)
        client.gather(futures)


def test_a_walltime_shorter_than_a_run(slurm: Slurm, folder: Path, running: Callable[..., Any]) -> None:
    """SLURM ends the only job in mid-run; the next one goes on. It counts in minutes, so it is told to hurry."""
    (folder / "sweep.yaml").write_text(ENDLESS)
    words = command(cluster_file(folder, jobs=1, options={"walltime": "00:01:00"}))
    store = folder / "results" / "sweep.zarr"
    seen: list[int] = []
    with (folder / "err").open("w") as err, running(words, stderr=err) as sweep:
        until(lambda: done(store) > 0 and updates_made(store, seen))
        (job,) = slurm.jobs("RUNNING")
        slurm("scontrol", "update", f"jobid={job}", "EndTime=now+1")
        until(lambda: slurm.state(job) not in ("RUNNING", "COMPLETING"), 60)
        assert slurm.state(job) == "TIMEOUT"
        until(lambda: slurm.jobs("RUNNING") not in ([], [job]), 120)
        before = updates_made(store, seen)
        until(lambda: updates_made(store, seen) > before)
        sweep.send_signal(signal.SIGINT)  # which dask_jobqueue would have for itself
        assert sweep.wait(90) in (130, -signal.SIGINT)
    assert (folder / "err").read_text().startswith("error: stopped;")
    assert seen == sorted(seen), "it began anew"


def updates_made(store: Path, seen: list[int]) -> int:
    """How far the last run has come, by what the store has of it; noted in `seen`, too."""
    for path in (store / "unfinished").glob("*.npz"):
        with np.load(path) as found:
            seen.append(int(found["made"][0]))
    return seen[-1] if seen else 0


def test_a_job_that_never_starts(slurm: Slurm, folder: Path) -> None:
    options = {"job_extra_directives": ["--begin=now+1hour"]}
    begun = time.monotonic()
    found = answer(slurm, folder, command(cluster_file(folder, wait_seconds=3, options=options)))
    assert time.monotonic() - begun < 40
    assert found.code == 1
    (line,) = found.err.splitlines()
    for word in ("worker: expected at least one, got none for 3 s", "2 jobs of slurm", "squeue -j", "wait_seconds"):
        assert word in line


def test_a_job_that_is_refused(cluster: Callable[..., Any]) -> None:
    said = "cluster.kind: expected slurm to take jobs, got sbatch: error: invalid partition specified: nosuch"
    with pytest.raises(ClusterError, match=said), cluster(options={"queue": "nosuch"}):
        raise AssertionError("it was taken")
