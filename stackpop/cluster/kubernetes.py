"""A cluster of pods, by dask-kubernetes and the Dask operator, which looks after its size."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stackpop.cluster.library import check_options, library, parameters, refused
from stackpop.cluster.supply import Supply
from stackpop.errors import ClusterError, explain
from stackpop.spec import ClusterSpec
from stackpop.spec.cluster import KubernetesSettings

MODULE = "dask_kubernetes.operator"
OWNER = f"{MODULE}.KubeCluster"
OURS = {
    "n_workers": "write `workers`, beside `options`",
    **dict.fromkeys(
        ("self", "loop", "asynchronous", "create_mode", "quiet", "shutdown_on_close", "jupyter"), "remove it"
    ),
}
SPECIFIES = ("env", "idle_timeout", "image", "resources", "scheduler_service_type", "worker_command")
WORKER_COMMAND = ["dask", "worker", "--nthreads", "1"]


def check(cluster: ClusterSpec, settings: KubernetesSettings) -> None:
    """Whether the library is there, and takes the options; no cluster is asked.

    Raises:
        ClusterError: otherwise.
    """
    kind = library(cluster, MODULE, "kubernetes").KubeCluster
    check_options(cluster, settings.options, parameters([kind.__init__]), OURS, OWNER)
    own = settings.options.get("custom_cluster_spec")
    beside = [name for name in SPECIFIES if name in settings.options]
    if own is not None and beside:
        field, remedy = cluster.at(f"options.{beside[0]}"), "write it into that manifest, or leave the manifest out"
        raise ClusterError(explain(field, expected="none beside custom_cluster_spec", got=beside[0], remedy=remedy))
    if own is None and not settings.options.get("image"):
        remedy = "name one that has this version of stackpop"
        raise ClusterError(explain(cluster.at("options.image"), expected="an image", got="nothing", remedy=remedy))


def manifest(settings: KubernetesSettings, dask_settings: Mapping[str, Any]) -> dict[str, Any]:
    """The DaskCluster that is asked for.

    dask-kubernetes 2026.3 would start the scheduler by `dask-scheduler`, which distributed no longer brings; and the
    scheduler there needs what Dask is told here.
    """
    from dask_kubernetes.operator import make_cluster_spec

    options = {name: settings.options[name] for name in SPECIFIES if name in settings.options}
    name = settings.options.get("name") or f"stackpop-{uuid.uuid4().hex[:10]}"
    size = settings.adaptive.minimum if settings.adaptive else settings.workers
    made = make_cluster_spec(name, n_workers=size, **{"worker_command": list(WORKER_COMMAND), **options})
    found: dict[str, Any] = copy.deepcopy(made)  # it shares parts
    for part in ("scheduler", "worker"):
        container = found["spec"][part]["spec"]["containers"][0]
        container["env"] = [*_environment(dask_settings), *(container["env"] or [])]
        container["resources"] = container["resources"] or {}
    scheduler = found["spec"]["scheduler"]["spec"]["containers"][0]
    scheduler["command"], scheduler["args"] = ["dask", "scheduler"], scheduler["args"][1:]
    return found


def _environment(dask_settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Dask's settings as it reads them from a process's environment."""
    names = {key: f"DASK_{key.upper().replace('.', '__').replace('-', '_')}" for key in dask_settings}
    return [
        {"name": names[key], "value": value if isinstance(value, str) else json.dumps(value)}
        for key, value in dask_settings.items()
    ]


@contextmanager
def started(
    cluster: ClusterSpec, settings: KubernetesSettings, dask_settings: Mapping[str, Any]
) -> Iterator[tuple[Any, Supply]]:
    """A DaskCluster, for a while.

    Raises:
        ClusterError: Kubernetes or the operator is not there, or refuses.
    """
    kind = library(cluster, MODULE, "kubernetes").KubeCluster
    own = settings.options.get("custom_cluster_spec") or manifest(settings, dask_settings)
    rest = {key: value for key, value in settings.options.items() if key not in (*SPECIFIES, "name")}
    try:
        pods = kind(**{**rest, "custom_cluster_spec": own}, quiet=True)
    except Exception as error:  # of kr8s, httpx, asyncio or the operator
        raise refused(cluster, OWNER, error) from None
    try:
        if settings.adaptive:
            pods.adapt(minimum=settings.adaptive.minimum, maximum=settings.adaptive.maximum)
        yield pods, PodSupply(pods, settings)
    finally:
        pods.close()


class PodSupply(Supply):
    """Pods, which the operator replaces."""

    def __init__(self, pods: Any, settings: KubernetesSettings) -> None:
        super().__init__(settings.adaptive.maximum if settings.adaptive else settings.workers, settings.wait_seconds)
        self._name, self._namespace = pods.name, pods.namespace

    @property
    def state(self) -> str:
        """The command that tells of the pods."""
        return f"see `kubectl -n {self._namespace} get pods -l dask.org/cluster-name={self._name}`"
