"""`python -m tests.kubernetes [FOLDER]`: the manifests of `deploy/` on a real Kubernetes node, with the real operator.

FOLDER keeps what takes minutes to make: the node's programs, built from Debian's sources, and the images. Everything
else starts in namespaces of its own, where it sees no network but its own, and ends with this command. It needs root,
and the Debian packages that build.sh and images.sh name, with etcd-server, containerd, runc,
containernetworking-plugins, iptables and conntrack.

It is not part of CI. What it printed is in deploy/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xarray as xr

import stackpop
from stackpop.store.schema import Status

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGES = ["dask-kubernetes", "helm-python-sdk"]  # the operator's chart, and what renders it
CIRCUMSTANCES = ["wall_seconds", "worker", "started", "finished", "attempts"]
START = time.monotonic()
USER = 1000  # of deploy/Dockerfile
MINE = "--selector=dask.org/cluster-name=sweep"

SWEEP = """\
name: real
game: {memory: joint, rounds: 10, reward_offset: -2.5}
leader: {algorithm: ppo, lr: 0.008, updates: 150, batch_steps: 1000}
follower: {oracle: contextual, updates: 100, post_updates: 5}
axes:
  matrix: [prisoners_dilemma, stag_hunt, battle, chicken]
  seed: [1, 2, 3, 4, 5, 6]
"""
VOLUME = """\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: results}}
spec:
  capacity: {{storage: 10Gi}}
  accessModes: [ReadWriteOnce]
  hostPath: {{path: {path}}}
"""
# Two runs a task, so that there is a middle to disturb. The schemas of 1.20 do not know a Job's podFailurePolicy.
OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: stackpop
resources: [{deploy}/{variant}]
components: [{components}]
images: [{{name: stackpop, newName: localhost/stackpop}}]
configMapGenerator: [{{name: sweep, behavior: replace, files: [sweep.yaml]}}]
generatorOptions: {{disableNameSuffixHash: true}}
patches:
  - target: {{kind: DaskJob}}
    patch: |
      - {{op: replace, path: /spec/job/spec/containers/0/args/4, value: --runs-per-task=2}}
  - target: {{kind: DaskCluster}}
    patch: |
      - {{op: replace, path: /spec/worker/replicas, value: 1}}
      - {{op: replace, path: /spec/worker/spec/containers/0/resources/requests/cpu, value: 100m}}
      - {{op: replace, path: /spec/scheduler/spec/containers/0/resources/requests/cpu, value: 100m}}
      - op: add # Dask adds a worker where it sees work for longer than this; these tasks take seconds
        path: /spec/scheduler/spec/containers/0/env/-
        value: {{name: DASK_DISTRIBUTED__ADAPTIVE__TARGET_DURATION, value: 1s}}
  - target: {{kind: DaskAutoscaler}}
    patch: |
      - {{op: replace, path: /spec/maximum, value: 2}}
  - target: {{kind: Job}}
    patch: |
      - {{op: remove, path: /spec/podFailurePolicy}}
      - {{op: replace, path: /spec/template/spec/containers/0/args/4, value: --runs-per-task=2}}
      - {{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 100m}}
"""


# The operator's chart, by Helm's own engine.
RENDER = """\
import sys, helm_python
values = {"image": {"name": "localhost/operator", "tag": "1"}}
files = helm_python.Chart.load(sys.argv[1]).render(values, name="operator", namespace="dask-operator")
print("\\n---\\n".join(text for name, text in files.items() if name.endswith(".yaml")))
"""


def say(*words: object) -> None:
    print(f"[{time.monotonic() - START:6.1f} s]", *words, flush=True)


def expect(claim: str, holds: bool) -> None:
    """Print what was found; the first thing that is not so ends the run."""
    say("ok:" if holds else "NOT SO:", claim)
    if not holds:
        raise SystemExit(1)


def until(what: str, found: Callable[[], object], seconds: float = 300) -> float:
    """Wait; returns how long it took."""
    began = time.monotonic()
    while not found():
        if time.monotonic() - began > seconds:
            expect(f"{what} within {seconds:.0f} s", False)
        time.sleep(0.2)
    return time.monotonic() - began


class Node:
    """A running node, entered by its process 1."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder, self.pid = folder, pid

    def kubectl(self, *arguments: object, check: bool = True, given: str | None = None) -> str:
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", f"--wdns={os.getcwd()}", "--"]
        command = [*enter, "kubectl", f"--kubeconfig={self.folder}/kubeconfig", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, input=given)
        if check and done.returncode:
            raise SystemExit(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout.strip()

    def mine(self, *arguments: object, check: bool = True) -> str:
        return self.kubectl("--namespace=stackpop", *arguments, check=check)

    def pods(self, component: str) -> dict[str, bool]:
        """Names of pods, and whether they are ready; what is on its way out does not count."""
        found = json.loads(self.mine("get", "pods", f"{MINE},dask.org/component={component}", "--output=json"))
        return {
            pod["metadata"]["name"]: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in pod["status"].get("conditions", [])
            )
            for pod in found["items"]
            if "deletionTimestamp" not in pod["metadata"]
        }

    def tell(self) -> None:
        """What there is, for whoever looks for the reason of a failure."""
        print(self.kubectl("get", "pods", "--all-namespaces", "--output=wide", check=False))
        print(self.mine("get", "events", check=False)[-3000:])
        for pod in self.mine("get", "pods", "--output=name", check=False).split():
            print(pod, self.mine("logs", "--all-containers", "--tail=15", pod, check=False), sep="\n")
        operator = self.kubectl("--namespace=dask-operator", "get", "pods", "--output=name", check=False)
        print(self.kubectl("--namespace=dask-operator", "logs", "--tail=40", operator, check=False))


@contextmanager
def running(parts: Path) -> Iterator[Node]:
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=parts))
    images = sorted((parts / "images").glob("*.tar"))
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation=private"]
    command = [*apart, sys.executable, HERE / "node.py", folder, parts / "bin", *images]
    with (folder / "node.log").open("w") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until("process 1 of the node", lambda: children.read_text().split(), 10)
        node = Node(folder, int(children.read_text()))
        ready = "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}"
        get = ("get", "nodes", f"--output={ready}")
        until(
            "a node that is ready",
            lambda: (folder / "kubeconfig").exists() and node.kubectl(*get, check=False) == "True",
        )
        yield node
    finally:
        process.kill()  # and with it process 1 of the node, hence all of it
        process.wait()
        until("the end of every process of the node", lambda: removed(folder), 30)


def removed(folder: Path) -> bool:
    """Whether nothing is left of a node: neither control groups nor files. Both stay while a process uses them."""
    groups = [group for kind in ("kubepods", "k8s.io") for group in Path("/sys/fs/cgroup").glob(f"*/{kind}/**/")]
    for group in sorted(groups, reverse=True):
        with suppress(OSError):
            group.rmdir()
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists() and not any(group.exists() for group in groups)


def prepare(parts: Path) -> None:
    """What takes minutes, once. The images are made again, for the code may have changed; their layers are kept."""
    parts.mkdir(parents=True, exist_ok=True)
    subprocess.run([HERE / "build.sh", parts], check=True)
    say("built:", *sorted(file.name for file in (parts / "bin").iterdir()))
    subprocess.run([HERE / "images.sh", parts], check=True, stdout=(parts / "images.log").open("w"))
    say("images:", *(parts / "images.log").read_text().splitlines()[-3:])
    if not (parts / "venv").exists():
        subprocess.run([sys.executable, "-m", "venv", parts / "venv"], check=True)
        pip = [parts / "venv/bin/pip", "install", "-q", "-c", ROOT / "constraints.txt", *PACKAGES]
        subprocess.run([str(word) for word in pip], check=True)


def install_operator(node: Node, parts: Path) -> None:
    """By its own chart, with the same definitions that the offline tests read."""
    (package,) = parts.glob("venv/lib/python3*/site-packages/dask_kubernetes")
    chart = package / "operator/deployment/helm/dask-kubernetes-operator"
    command = [str(parts / "venv/bin/python"), "-c", RENDER, str(chart)]
    manifests = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    node.kubectl("create", f"--filename={chart / 'crds'}")
    node.kubectl("create", "namespace", "dask-operator")
    node.kubectl("--namespace=dask-operator", "create", "--filename=-", given=manifests)
    node.kubectl(
        "--namespace=dask-operator", "wait", "--for=condition=Available", "--timeout=300s", "deployment", "--all"
    )


def apply(node: Node, variant: str, components: str = "") -> Path:
    """Put a variant on the node with the sweep of this test; returns the store to be."""
    folder = node.folder / variant.replace("/", "-")
    results = folder / "results"
    results.mkdir(parents=True)
    os.chown(results, USER, USER)  # a hostPath, alone among volumes, is not given to the pod's group
    deploy = os.path.relpath(ROOT / "deploy/kubernetes", folder)
    wanted = f"{deploy}/components/{components}" if components else ""
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "kustomization.yaml").write_text(OVERLAY.format(deploy=deploy, variant=variant, components=wanted))
    node.kubectl("create", "--filename=-", given=VOLUME.format(path=results))
    print(node.kubectl("apply", "--kustomize", folder))
    return results / "sweep.zarr"


def runs_done(store: Path) -> int:
    try:
        return int((stackpop.open_results(str(store)).status == Status.DONE).sum())
    except Exception:  # not there yet
        return 0


def check_bits(store: Path, expected: Path) -> None:
    for group in (None, "followers"):
        found, whole = (xr.open_zarr(path, group=group).load().drop_vars(CIRCUMSTANCES) for path in (store, expected))
        xr.testing.assert_equal(whole, found)
    say("ok: the store holds the bits of the same sweep on this machine, undisturbed")


def check_confinement(node: Node, pod: str) -> None:
    """What a worker may not do."""

    def inside(*command: str) -> str:
        return node.mine("exec", pod, "--", *command, check=False)

    expect("a worker is user 1000", inside("id", "-u") == str(USER))
    attempt = "touch /opt/stackpop/x /etc/x 2>/dev/null || echo refused"
    expect("it cannot write to its image", inside("sh", "-c", attempt) == "refused")
    token = "ls /var/run/secrets/kubernetes.io 2>/dev/null || echo none"
    expect("it has no token of a service account", inside("sh", "-c", token) == "none")
    expect("it has no capability", "CapEff:\t0000000000000000" in inside("cat", "/proc/self/status"))


def check_daskjob(node: Node, expected: Path) -> None:
    store = apply(node, "overlays/try")
    until("two workers", lambda: sum(node.pods("worker").values()) == 2)
    say("two workers and a scheduler run")
    check_confinement(node, next(iter(node.pods("worker"))))
    until("the first results", lambda: runs_done(store) > 0, 300)
    before = node.pods("worker")
    node.mine("delete", "pod", next(iter(before)), "--force", "--grace-period=0")
    say(f"{runs_done(store)} of 24 runs done; one of the two worker pods deleted")
    took = until("another worker", lambda: sum(node.pods("worker").values()) == 2 and node.pods("worker") != before)
    say(f"another worker pod was ready {took:.1f} s later")
    middle = runs_done(store)
    until("more results", lambda: runs_done(store) > middle, 300)
    node.mine("delete", "pod", next(iter(node.pods("scheduler"))), "--force", "--grace-period=0")
    say(f"{runs_done(store)} of 24 runs done; the scheduler's pod deleted")
    restarts = "--output=jsonpath={.status.containerStatuses[0].restartCount}"
    until("a restart of the job", lambda: node.mine("get", "pod", "sweep-runner", restarts) not in ("", "0"), 300)
    say(f"the job was restarted, with {runs_done(store)} of 24 runs in its store")
    status = ("get", "daskjob", "sweep", "--output=jsonpath={.status.jobStatus}")
    until("the end of the job", lambda: node.mine(*status) in ("Successful", "Failed"), 900)
    expect("the DaskJob is Successful", node.mine(*status) == "Successful")
    print(node.mine("logs", "sweep-runner", "--tail=14"))
    expect("24 of 24 runs are done", runs_done(store) == 24)
    check_bits(store, expected)
    until("the end of its cluster", lambda: not node.pods("worker") and not node.pods("scheduler"))
    say("ok: its cluster is gone, its results are there")


def check_standing(node: Node, expected: Path) -> None:
    store = apply(node, "standing", "autoscaler")
    took = until("a second worker", lambda: sum(node.pods("worker").values()) == 2, 300)
    say(f"the autoscaler went from one worker to two within {took:.0f} s")
    until(
        "the end of the job",
        lambda: node.mine("get", "job", "sweep", "--output=jsonpath={.status.succeeded}") == "1",
        900,
    )
    expect("24 of 24 runs are done", runs_done(store) == 24)
    check_bits(store, expected)
    took = until("one worker", lambda: len(node.pods("worker")) == 1, 180)
    say(f"ok: without work it went back to one worker within {took:.0f} s; the cluster stands")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("/var/tmp/stackpop-kubernetes"), help="for what is built"
    )
    parser.add_argument("--as-built", action="store_true", help="take programs and images as they are")
    parser.add_argument("--only", choices=["daskjob", "standing"], help="one of the two checks (default: both)")
    options = parser.parse_args()
    parts = options.folder.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the node ends as well
    if not options.as_built:
        prepare(parts)
    with tempfile.TemporaryDirectory() as scratch, running(parts) as node:
        say("a node is ready:", json.loads(node.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"])
        try:
            install_operator(node, parts)
            say("the operator runs, from its own chart")
            expected = reference(Path(scratch))
            if options.only != "standing":
                check_daskjob(node, expected)
                node.kubectl("delete", "namespace", "stackpop")
                node.kubectl("delete", "persistentvolume", "results")
            if options.only != "daskjob":
                check_standing(node, expected)
        except SystemExit:
            node.tell()
            raise
    say("all as it should be; everything that was started is stopped")


def reference(scratch: Path) -> Path:
    """The same sweep by one process of this machine, before anything else keeps it busy."""
    (scratch / "real.yaml").write_text(SWEEP)
    store = scratch / "expected.zarr"
    command = [
        sys.executable,
        "-m",
        "stackpop",
        "sweep",
        scratch / "real.yaml",
        "--store",
        store,
        "--runs-per-task=auto",
    ]
    began = time.monotonic()
    subprocess.run(
        [str(word) for word in [*command, "--quiet"]], check=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    say(f"the same sweep on this machine, without a cluster: {time.monotonic() - began:.0f} s")
    return store


if __name__ == "__main__":
    main()
