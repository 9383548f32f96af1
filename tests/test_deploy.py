"""What `deploy/` tells a cluster: valid to the letter, safe, and in step with the code. No cluster is needed."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import dask.config
import pytest
import typer

from manifests import FOLDER, ROOT, VARIANTS, Manifest, all_pods, containers, mistakes, of_kind, pods, render, tool
from stackpop.cli import app
from stackpop.cluster.connect import DASK_SETTINGS
from stackpop.spec import load_sweep, parse_sweep
from support import trained_store

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
GUIDE = (ROOT / "deploy/README.md").read_text()

SCHEDULER = "spec.cluster.spec.scheduler.spec.containers.0"

variants = pytest.mark.parametrize("variant", VARIANTS)


def job_of(variant: str) -> Manifest:
    (container,) = all_pods(variant)["job"]["containers"]
    return container


@variants
def test_every_manifest_is_valid_and_has_no_unknown_key(variant: str) -> None:
    found = [f"{manifest['kind']}: {mistake}" for manifest in render(variant) for mistake in mistakes(manifest)]
    assert found == []


@pytest.mark.parametrize(
    ("variant", "kind", "path", "value", "complaint"),
    [
        ("job", "DaskJob", "spec.cluster.spec.worker.replica", 3, "'replica' was unexpected"),
        ("job", "DaskJob", "spec.cluster.spec.worker.replicas", "two", "not of type 'integer'"),
        ("job", "DaskJob", "spec.job.spec.containers.0.readOnly", True, "'readOnly' was unexpected"),
        (
            "job",
            "DaskJob",
            f"{SCHEDULER}.livenessProbe.httpGet.port",
            8787,
            "'string'",
        ),
        ("standing", "DaskCluster", "spec.idletimeout", 60, "'idletimeout' was unexpected"),
        ("standing", "Job", "spec.template.spec.containers.0.imagee", "x", "'imagee' was unexpected"),
        ("overlays/cluster", "DaskAutoscaler", "spec.maximum", "many", "not of type 'integer'"),
        ("job", "NetworkPolicy", "spec.policyType", ["Ingress"], "'policyType' was unexpected"),
    ],
)
def test_a_mistake_is_found(variant: str, kind: str, path: str, value: object, complaint: str) -> None:
    manifest = copy.deepcopy(of_kind(variant, kind)[0])
    *way, last = path.split(".")
    part: Any = manifest
    for step in way:
        part = part[int(step)] if isinstance(part, list) else part[step]
    part[last] = value
    assert any(complaint in mistake for mistake in mistakes(manifest)), mistakes(manifest)


@variants
def test_no_pod_is_more_than_it_needs_to_be(variant: str) -> None:
    assert set(all_pods(variant)) == {"job", "scheduler", "worker"}
    for pod in all_pods(variant).values():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in DOCKERFILE
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in containers(pod):
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


@variants
def test_every_container_asks_for_what_it_needs_from_a_version_of_the_image(variant: str) -> None:
    images = {container["image"] for pod in all_pods(variant).values() for container in containers(pod)}
    (image,) = images  # scheduler, worker and job must run the same code
    assert re.search(r":\d+\.\d+\.\d+(-gpu)?$", image)
    for pod in all_pods(variant).values():
        for container in containers(pod):
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@variants
def test_every_mount_has_its_volume_and_every_volume_is_mounted(variant: str) -> None:
    for pod in all_pods(variant).values():
        mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in all_pods(variant)["job"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {claim["metadata"]["name"] for claim in of_kind(variant, "PersistentVolumeClaim")}


@variants
def test_the_job_alone_has_the_results_and_the_credentials(variant: str) -> None:
    assert of_kind(variant, "Secret") == []
    for role in ("scheduler", "worker"):
        pod = all_pods(variant)[role]
        assert [volume.keys() - {"name"} for volume in pod["volumes"]] == [{"emptyDir"}]
        assert all("envFrom" not in container for container in containers(pod))
    text = (FOLDER / variant / "kustomization.yaml").read_text()
    assert not re.search(r"AWS_|KEY|TOKEN|PASSWORD", text)


@variants
def test_the_job_runs_a_sweep_command_that_exists_on_a_sweep_file_that_is_valid(variant: str) -> None:
    (config,) = of_kind(variant, "ConfigMap")
    job = job_of(variant)
    (mount,) = [mount for mount in job["volumeMounts"] if mount["name"] == config["metadata"]["name"]]
    command = typer.main.get_command(app).commands["sweep"]  # type: ignore[attr-defined]
    parameters = command.make_context("sweep", list(job["args"][1:])).params
    assert job["command"] == ["stackpop"]
    assert [str(file) for file in parameters["files"]] == [f"{mount['mountPath']}/{name}" for name in config["data"]]
    (text,) = config["data"].values()
    assert parse_sweep(text, "sweep").shape
    (cluster,) = of_kind(variant, "DaskJob") or of_kind(variant, "DaskCluster")
    assert parameters["scheduler"] == f"tcp://{cluster['metadata']['name']}-scheduler:8786"


def test_a_store_in_a_bucket_needs_no_volume() -> None:
    job = job_of("overlays/cluster")
    assert "--store=$(STORE)" in job["args"]
    (variable,) = job["env"]
    assert variable["name"] == "STORE"
    assert variable["value"].startswith("s3://")
    assert job["envFrom"] == [{"secretRef": {"name": "object-store"}}]


@variants
def test_the_scheduler_has_the_settings_of_a_local_one(variant: str) -> None:
    (scheduler,) = all_pods(variant)["scheduler"]["containers"]
    told = dask.config.collect_env({variable["name"]: variable["value"] for variable in scheduler["env"]})
    for name, value in DASK_SETTINGS.items():
        assert dask.config.get(name.replace("_", "-"), config=told, default=None) == value, name


def test_the_cluster_of_a_job_and_the_one_that_stands_are_the_same() -> None:
    (job,), (standing,) = of_kind("job", "DaskJob"), of_kind("standing", "DaskCluster")
    assert standing["spec"].pop("idleTimeout") > 0
    assert job["spec"]["cluster"]["spec"] == standing["spec"]


@variants
def test_nobody_reaches_the_sweep_but_itself_and_the_operator(variant: str) -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(variant, "NetworkPolicy")}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (cluster,) = of_kind(variant, "DaskJob") or of_kind(variant, "DaskCluster")
    mine = {"matchLabels": {"dask.org/cluster-name": cluster["metadata"]["name"]}}
    for job in of_kind(variant, "Job"):  # the operator labels its own pods
        assert job["spec"]["template"]["metadata"]["labels"].items() >= mine["matchLabels"].items()
    assert policies["sweep-with-itself"]["podSelector"] == mine
    incoming = [policy["ingress"] for policy in policies.values() if "ingress" in policy]
    assert [{"from": [{"podSelector": mine}]}] in incoming
    (operator,) = [rule for rules in incoming for rule in rules if "namespaceSelector" in rule["from"][0]]
    (scheduler,) = all_pods(variant)["scheduler"]["containers"]
    assert [port["port"] for port in operator["ports"]] == [port["containerPort"] for port in scheduler["ports"]]
    outgoing = [(name, rule) for name, policy in policies.items() for rule in policy.get("egress", [])]
    outside = {name for name, rule in outgoing if "ipBlock" in rule["to"][0]}
    assert outside == ({"job-to-object-store"} if variant in ("overlays/cluster", "overlays/gpu") else set())


def test_gpus_are_for_workers() -> None:
    with_gpu = {
        role
        for role, pod in all_pods("overlays/gpu").items()
        if any("nvidia.com/gpu" in container["resources"]["limits"] for container in containers(pod))
    }
    assert with_gpu == {"worker"}


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    done = subprocess.run([tool("hadolint"), ROOT / "deploy/Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_pinned_and_takes_from_the_repository_only_what_it_is_given() -> None:
    for install in re.findall(r"pip install (.*)", DOCKERFILE):
        assert "-c constraints.txt" in install or "--no-deps" in install
    ignored, *kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "!*"]
    assert ignored == "*"
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copies).split():
        assert any(fnmatch(source, pattern[1:]) for pattern in kept), source


def test_the_guide_names_folders_and_files_that_exist() -> None:
    paths = re.findall(r"deploy/[\w./-]*\w", GUIDE)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {f"deploy/kubernetes/{variant}" for variant in VARIANTS} <= set(paths)


def test_a_store_holds_no_pickles(tmp_path: Path) -> None:
    """Reading somebody's results must run none of their code: they are numbers and text, and so are their codecs."""

    def codecs(listed: list[Any]) -> Iterator[str]:
        for codec in listed:
            yield codec["name"]
            for nested in ("codecs", "index_codecs"):
                yield from codecs(codec.get("configuration", {}).get(nested, []))

    short = ["leader.updates=2", "follower.updates=2", "follower.post_updates=0", "leader.batch_steps=100"]
    store = trained_store(tmp_path / "s.zarr", load_sweep(ROOT / "sweeps/quick.yaml", short))
    nodes = [json.loads(file.read_text()) for file in store.rglob("zarr.json")]
    arrays = [node for node in nodes if node["node_type"] == "array"]
    assert {name for array in arrays for name in codecs(array["codecs"])} <= {"bytes", "vlen-utf8", "zstd", "crc32c"}
    assert all(re.fullmatch(r"bool|string|u?int\d+|float\d+", str(array["data_type"])) for array in arrays)
    files = {file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file()}
    assert {file for file in files if not re.search(r"(^|/)(zarr\.json|c(/\d+)*)$", file)} == set()


def test_pods_are_found_where_they_are() -> None:
    """The checks above would pass on a kind whose pods nobody looked at."""
    manifests = [manifest for variant in VARIANTS for manifest in render(variant)]
    podless = {"Namespace", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "DaskAutoscaler"}
    with_pods = {manifest["kind"] for manifest in manifests if list(pods(manifest))}
    assert with_pods == {manifest["kind"] for manifest in manifests} - podless
