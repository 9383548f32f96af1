"""Kubernetes manifests as the API server would get them, and what it would say of them, without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
VARIANTS = ("job", "standing", "overlays/try", "overlays/cluster", "overlays/gpu")
KUBERNETES = "1.32"  # whose schemas of the core kinds count
DASK = "kubernetes.dask.org/v1"

Manifest = dict[str, Any]


def tool(name: str) -> str:
    """A program that came with a package of the extra `deploy`."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name}: expected on the path, got none; pip install -c constraints.txt -e '.[test]'"
    return found


@cache
def render(variant: str) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send."""
    command = [tool("kubectl"), "kustomize", str(FOLDER / variant)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(yaml.load_all(text, yaml.CSafeLoader))


def of_kind(variant: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in render(variant) if manifest["kind"] == kind]


def pods(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Role and spec of every pod that a manifest leads to."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "DaskJob":
        yield "job", spec["job"]["spec"]
        spec = spec["cluster"]["spec"]
    if manifest["kind"] in ("DaskJob", "DaskCluster"):
        yield "scheduler", spec["scheduler"]["spec"]
        yield "worker", spec["worker"]["spec"]
    if manifest["kind"] == "Job":
        yield "job", spec["template"]["spec"]


def all_pods(variant: str) -> dict[str, Manifest]:
    return {role: pod for manifest in render(variant) for role, pod in pods(manifest)}


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def mistakes(manifest: Manifest) -> list[str]:
    """What the API server would refuse, and keys that it does not know."""
    if manifest["apiVersion"] == DASK:
        schema = _operator_schemas()[manifest["kind"]]
        return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


@cache
def _operator_schemas() -> dict[str, jsonschema.Draft202012Validator]:
    """A validator for each kind of the Dask operator, from the definitions that its package installs."""
    package = find_spec("dask_kubernetes")  # found, not imported: that would load a Kubernetes client
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    schemas = {}
    for file in folder.glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = definition["versions"]
        schema = _closed(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"apiVersion": {"const": DASK}, "kind": {}, "metadata": {"type": "object"}}
        schemas[definition["names"]["kind"]] = jsonschema.Draft202012Validator(schema)
    return schemas


def _closed(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema in which an object has the listed properties only."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key not in ("properties", "nullable")}
    if schema.get("x-kubernetes-int-or-string"):
        closed = {"type": ["integer", "string"]}
    if schema.get("nullable") and "type" in closed:
        closed["type"] = [closed["type"], "null"]
    if "properties" in schema:
        closed["properties"] = {name: _closed(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    return closed
