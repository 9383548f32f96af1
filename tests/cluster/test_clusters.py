"""Where tasks run: what files and options choose, what libraries are given, and who is let in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import pytest
import xarray as xr
from dask.utils import key_split
from distributed import Client, LocalCluster
from distributed.security import Security

from command import TINY, stackpop
from stackpop.cluster import ClusterOptions, Supply, Workers, check_available, connect, jobqueue, kubernetes
from stackpop.errors import ClusterError, NoWorkerError, SpecError
from stackpop.spec import ClusterSpec, load_cluster, parse_sweep
from stackpop.spec.cluster import AddressSettings, JobQueueSettings, KubernetesSettings, LocalSettings
from stackpop.store import ResultsWriter
from stackpop.sweep.flight import task_prefixes

SLURM = "cluster: {kind: slurm, jobs: 3, options: {cores: 2, memory: 1GB, interface: lo}}\n"
JOB = {"cores": 2, "memory": "1GB", "interface": "lo"}


def cluster(text: str, folder: Path) -> ClusterSpec:
    (folder / "c.yaml").write_text(text)
    return load_cluster(folder / "c.yaml")


# ---------------------------------------------------------------- files and options


def test_a_cluster_changes_no_run() -> None:
    here, there = parse_sweep(TINY, "s"), parse_sweep(TINY + SLURM, "s")
    assert there.cluster is not None
    assert there.cluster.settings.kind == "slurm"
    assert [here.run(index).run_id for index in here.indices()] == [there.run(i).run_id for i in there.indices()]
    assert here.fixed == there.fixed


def test_a_store_takes_results_from_any_cluster(tmp_path: Path) -> None:
    for text in (TINY, TINY + SLURM, TINY + "cluster: {kind: local, workers: 2}\n"):
        with ResultsWriter(tmp_path / "s.zarr", parse_sweep(text, "s")):
            pass
    with xr.open_zarr(tmp_path / "s.zarr") as found:
        assert found.sizes["seed"] == 2


@pytest.mark.parametrize(
    "text", [SLURM, "cluster: {kind: address, address: 'tls://a:1', tls: {ca_file: a, cert: b, key: c}}\n"]
)
def test_a_cluster_can_be_written_and_read_back(text: str) -> None:
    sweep = parse_sweep(TINY + text, "s")
    assert parse_sweep(sweep.to_yaml(), "s") == sweep


REFUSED = {
    "kind": ("{kind: slrum}", "1:8: kind: expected a known kind of cluster, got 'slrum'; did you mean 'slurm'?"),
    "key": ("{kind: slurm, job: 1}", "1:15: job: expected a setting of the cluster, got 'job'; did you mean 'jobs'?"),
    "of another": ("{kind: local, jobs: 1}", "1:15: jobs: expected a setting that kind local reads, got 'jobs'"),
    "both sizes": ("{kind: slurm, jobs: 2, adaptive: {maximum: 2}}", "1:21: jobs: expected none beside adaptive"),
    "two ends": ("{kind: slurm, adaptive: {minimum: 3, maximum: 2}}", "maximum: expected at least the minimum, 3"),
    "part": ("{kind: slurm, adaptive: {maximum: 2, min: 1}}", "1:38: adaptive.min: expected a setting of the cluster"),
    "no end": ("{kind: slurm, adaptive: {minimum: 1}}", "1:25: adaptive.maximum: expected a value, got nothing"),
    "number": ("{kind: slurm, jobs: many}", "1:21: jobs: expected a whole number, got 'many'; the default is 1"),
    "tls": ("{kind: slurm, tls: yes}", "1:20: tls: expected auto, or a section with ca_file, cert and key, got 'yes'"),
    "tls auto": ("{kind: address, address: a, tls: auto}", "1:34: tls: expected a section of files, got 'auto'"),
    "tls files": ("{kind: slurm, tls: {ca_file: a, cert: b}}", "1:20: tls.key: expected a value, got nothing"),
    "nothing": ("", "1:1: file: expected a section of settings, got an empty file"),
    "a word": ("slurm", "1:1: file: expected a section of settings, got 'slurm'"),
    "no address": ("{kind: address}", "1:1: address: expected a value, got nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_have_one_line_with_their_place(case: str, tmp_path: Path) -> None:
    text, expected = REFUSED[case]
    with pytest.raises(SpecError) as error:
        cluster(text, tmp_path)
    (line,) = str(error.value).splitlines()
    assert expected in line
    assert line.startswith(str(tmp_path / "c.yaml"))
    assert "; " in line


def test_mistakes_in_the_sweep_file() -> None:
    with pytest.raises(SpecError, match=r"sweep:8:30: cluster.jobs: expected a number above 0, got 0"):
        parse_sweep(TINY + "cluster: {kind: slurm, jobs: 0}\n", "s")
    with pytest.raises(SpecError, match=r"sweep:8:10: cluster: expected a section of settings, got 'slurm'"):
        parse_sweep(TINY + "cluster: slurm\n", "s")


def test_the_nearest_word_wins() -> None:
    """Command line, then --cluster, then the sweep file, then local."""
    section = ClusterSpec(JobQueueSettings(kind="slurm"))
    file = ClusterSpec(LocalSettings(workers=3, dashboard_port=1))
    assert ClusterOptions().over(None).settings == LocalSettings()
    assert ClusterOptions().over(section) is section
    assert ClusterOptions(file=file).over(section) is file
    assert ClusterOptions(workers=2, file=file).over(section).settings == LocalSettings(workers=2, dashboard_port=1)
    assert ClusterOptions(workers=2).over(section).settings == LocalSettings(workers=2)
    assert ClusterOptions("tcp://a:1", file=file).over(section).settings == AddressSettings(address="tcp://a:1")


def test_an_address_of_the_command_line_keeps_the_certificates_of_the_file(tmp_path: Path) -> None:
    file = cluster("{kind: address, address: 'tls://a:1', tls: {ca_file: a, cert: b, key: c}}", tmp_path)
    settings = ClusterOptions("tls://b:1", file=file).over(None).settings
    assert isinstance(settings, AddressSettings)
    assert isinstance(file.settings, AddressSettings)
    assert (settings.address, settings.tls) == ("tls://b:1", file.settings.tls)


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    answer = stackpop("sweep", "tiny.yaml", "--cluster", "none.yaml", cwd=tmp_path)
    line = "error: none.yaml: cluster file: expected a file in YAML, got no such file or directory; check the path\n"
    assert (answer.code, answer.err) == (2, line)


# ---------------------------------------------------------------- libraries


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, settings, extra in (
        ("dask_jobqueue", JobQueueSettings(kind="pbs"), "jobqueue"),
        ("dask_kubernetes.operator", KubernetesSettings(), "kubernetes"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ClusterError, match=rf"^cluster.kind: expected .*; pip install 'stackpop\[{extra}\]'"):
            check_available(ClusterSpec(settings))


def test_a_library_leaves_ctrl_c_alone() -> None:
    code = (
        "import signal, sys; before = signal.getsignal(signal.SIGINT);"
        "from stackpop.cluster.jobqueue import _class; from stackpop.spec import *; import stackpop.spec.cluster as c;"
        "_class(ClusterSpec(c.JobQueueSettings(kind='slurm')));"
        "sys.exit(signal.getsignal(signal.SIGINT) is not before)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


OPTIONS = {
    "unknown": (
        {**JOB, "quue": "x"},
        "options.quue: expected an option of dask_jobqueue.SLURMCluster, got 'quue'; did",
    ),
    "ours": ({**JOB, "n_workers": 2}, "options.n_workers: expected an option that is not stackpop's to give"),
    "of a base class": ({**JOB, "shutdown_on_close": 1}, "options.shutdown_on_close: expected an option of dask_job"),
    "missing": (
        {"cores": 1, "interface": "lo"},
        "options: expected what dask_jobqueue.SLURMCluster accepts, got You m",
    ),
    "wrong": ({**JOB, "memory": "much"}, "options: expected what dask_jobqueue.SLURMCluster accepts, got Could not"),
    "listens nowhere": ({"cores": 1, "memory": "1GB"}, "options.interface: expected the network interface over which"),
    "no network": ({**JOB, "interface": "nosuch"}, "options.interface: expected a network interface, got 'nosuch'"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_are_checked_by_their_owner(case: str, tmp_path: Path) -> None:
    options, expected = OPTIONS[case]
    spec = cluster(json.dumps({"kind": "slurm", "options": options}), tmp_path)
    with pytest.raises(ClusterError) as error:
        check_available(spec)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path / 'c.yaml'}:1:")
    assert expected in line


def test_whoever_asks_for_a_network_is_told_what_it_means() -> None:
    with pytest.raises(ClusterError, match="whoever reaches the scheduler can run code as you, unless you say `tls"):
        check_available(ClusterSpec(JobQueueSettings(kind="slurm", options={"cores": 1, "memory": "1GB"})))


@pytest.mark.parametrize(
    ("kind", "directive"),
    [
        ("slurm", "#SBATCH --cpus-per-task=2"),
        ("pbs", "#PBS -l select=1:ncpus=2"),
        ("sge", "#$ -q long"),
        ("lsf", "#BSUB -n 2"),
        ("oar", "#OAR -l /nodes=1/core=2"),
        ("htcondor", "RequestCpus"),
    ],
)
def test_every_batch_system_gets_one_worker_a_core(kind: Any, directive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    queue = {"disk": "1GB"} if kind == "htcondor" else {"queue": "long"}
    if kind == "oar":
        queue["memory_per_core_property_name"] = "memcore"
    settings = JobQueueSettings(kind=kind, options={**JOB, **queue})
    spec = ClusterSpec(settings)
    with pytest.raises(ClusterError, match=rf"expected a machine from which jobs of {kind} can be submitted"):
        check_available(spec)  # all else is well
    script = jobqueue._example(jobqueue._class(spec), jobqueue._options(settings)).job_script()
    assert directive in script
    for words in ("--nthreads 1", "--nworkers 2", "--no-dashboard", "--interface lo"):
        assert words in script


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False), ("a", False)]
)
def test_loopback(host: str, loopback: bool) -> None:
    assert jobqueue._is_loopback(f"tcp://{host}:8786") is loopback


def test_adaptive_schedulers_know_every_training_of_the_sweep() -> None:
    spec = parse_sweep("axes: {matrix: [chicken, prisoners_dilemma, hero], leader.lr: [0.1, 1.0], seed: [1, 20]}", "s")
    told = task_prefixes(spec)
    for index in spec.indices():
        run = spec.run(index)
        follower = run.follower_spec()
        assert follower is not None
        assert key_split(f"leader-{run.label}+3-{run.run_id}-17") in told
        assert key_split(f"follower-{follower.label}-{follower.follower_id}-2") in told


def test_kubernetes_options(tmp_path: Path) -> None:
    refused = {
        "{}": "options.image: expected an image, got nothing",
        "{image: a, imge: b}": "options.imge: expected an option of dask_kubernetes.operator.KubeCluster",
        "{image: a, n_workers: 2}": "options.n_workers: expected an option that is not stackpop's",
        "{image: a, custom_cluster_spec: {}}": "options.image: expected none beside custom_cluster_spec",
    }
    for options, expected in refused.items():
        with pytest.raises(ClusterError) as error:
            check_available(cluster(f"{{kind: kubernetes, options: {options}}}", tmp_path))
        assert expected in str(error.value)
    check_available(cluster("{kind: kubernetes, options: {image: a, namespace: b}}", tmp_path))


def test_kubernetes_manifest() -> None:
    settings = KubernetesSettings(workers=3, options={"image": "stackpop:1", "env": {"A": "1"}, "name": "mine"})
    durations = {"distributed.scheduler.default-task-durations": {"leader": "60 s"}}
    found = kubernetes.manifest(settings, durations)
    scheduler, worker = (found["spec"][part]["spec"]["containers"][0] for part in ("scheduler", "worker"))
    assert (scheduler["command"], scheduler["args"]) == (["dask", "scheduler"], ["--host", "0.0.0.0"])
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert found["metadata"]["name"] == "mine"
    assert found["spec"]["worker"]["replicas"] == 3
    told, own = scheduler["env"]
    assert own == {"name": "A", "value": "1"}
    read = dask.config.collect_env({told["name"]: told["value"]})
    assert dask.config.get("distributed.scheduler.default-task-durations", config=read) == {"leader": "60 s"}


def test_the_job_script_wants_to_know_the_network_between_nodes(tmp_path: Path) -> None:
    """Its start, outside of any job."""
    variables = {**os.environ, "SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "2"}
    script = Path(__file__).parents[2] / "deploy" / "slurm" / "one_allocation.sbatch"
    done = subprocess.run([script, "s.yaml"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: STACKPOP_INTERFACE: expected the network between 2 nodes, got nothing; ")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- workers that do not come


def test_waiting_for_workers_ends(tmp_path: Path) -> None:
    class Queue(Supply):
        @property
        def state(self) -> str:
            return "1 job in the queue"

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty,
        Client(empty, set_as_default=False) as client,
    ):
        said: list[str] = []
        with pytest.raises(NoWorkerError, match=r"got none for 0.3 s \(1 job in the queue\); .* raise cluster.wait"):
            Workers(client, Queue(wait_seconds=0.3)).wait(said.append)
    assert len(said) == 1
    assert said[0].endswith("for at most 0.3 s (1 job in the queue)")


# ---------------------------------------------------------------- who is let in


@pytest.mark.slow
def test_only_who_has_a_certificate_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler of others with the files, and every way to lack them."""
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 2)
    made = Security.temporary()
    files = {"ca_file": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "tiny.yaml").write_text(TINY)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", security=made
    ) as shared:
        address = shared.scheduler_address
        assert address.startswith("tls://")
        with pytest.raises(ClusterError, match="none answers; it wants a certificate: give the files of `tls:`"):
            check_available(ClusterSpec(AddressSettings(address=address)))
        with pytest.raises(ClusterError, match="none answers"):
            check_available(ClusterSpec(AddressSettings(address=address.replace("tls://", "tcp://"))))
        with suppress(OSError), Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False):
            raise AssertionError("it got in")
        paths = {name: str(tmp_path / name) for name in files}
        (tmp_path / "c.yaml").write_text(json.dumps({"kind": "address", "address": address, "tls": paths}))
        assert stackpop("sweep", "tiny.yaml", "-q", "--cluster", "c.yaml", cwd=tmp_path).code == 0
        with (tmp_path / "key").open("w") as key:
            key.write("nothing")
        answer = stackpop("sweep", "tiny.yaml", "-q", "--store", "b.zarr", "--cluster", "c.yaml", cwd=tmp_path)
        assert answer.code == 2
        assert "cluster.tls.key: expected a PEM file" in answer.err


@pytest.mark.slow
def test_a_local_cluster_with_a_certificate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.cluster.existing.ANSWER_SECONDS", 2)
    with connect(ClusterSpec(LocalSettings(workers=1, tls="auto"))) as connection:
        address = connection.client.scheduler_info(n_workers=0)["address"]
        assert address.startswith("tls://127.0.0.1:")
        assert connection.client.submit(abs, -1).result(timeout=20) == 1
        for stranger in (address, address.replace("tls://", "tcp://")):
            with pytest.raises(ClusterError, match="none answers"):
                check_available(ClusterSpec(AddressSettings(address=stranger)))
