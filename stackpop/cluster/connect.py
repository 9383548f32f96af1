"""From a cluster's settings to a client of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from stackpop.cluster import board, jobqueue, kubernetes
from stackpop.cluster.existing import check_existing, existing_address
from stackpop.cluster.gpus import device_gpus
from stackpop.cluster.local import check_local, local_cluster
from stackpop.cluster.security import security_of
from stackpop.cluster.supply import Supply
from stackpop.devices import Device
from stackpop.spec import ClusterSpec
from stackpop.spec.cluster import (
    AdaptiveSettings,
    ClusterSettings,
    JobQueueSettings,
    KubernetesSettings,
    LocalSettings,
)

CONNECT_SECONDS = 10
DASK_SETTINGS: dict[str, Any] = {
    # A dying worker must not take queued work down with it, nor a long task pass for a dead worker.
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": "15 minutes",
    # The scheduler's memory must not grow with the number of finished tasks. Its log of recent messages holds
    # whole tasks, and a pack has kilobytes for each of its runs.
    "distributed.admin.low-level-log-length": 20,
    "distributed.scheduler.dashboard.tasks.task-stream-length": 1000,
}
# To look a hundred times a second at what a task does, and fifty times at each event loop, is a twentieth of a sweep
# whose workers share the machine with all of that.
_LOOK_LESS = {"distributed.worker.profile.interval": "100ms", "distributed.admin.tick.interval": "100ms"}


@dataclass(frozen=True)
class Connection:
    """A client of a cluster, and where its workers come from."""

    client: Client
    supply: Supply


def check_available(cluster: ClusterSpec, device: Device = "cpu") -> None:
    """A quick look whether the chosen cluster can be had, with the device; nothing is started.

    Raises:
        ClusterError: as `connect` would.
    """
    settings = cluster.settings
    if isinstance(settings, LocalSettings):
        check_local(settings, device)
    elif isinstance(settings, JobQueueSettings):
        jobqueue.check(cluster, settings)
    elif isinstance(settings, KubernetesSettings):
        kubernetes.check(cluster, settings)
    else:
        check_existing(settings)


@contextmanager
def connect(cluster: ClusterSpec, tasks: Collection[str] = (), device: Device = "cpu") -> Iterator[Connection]:
    """A client of the chosen cluster; one that was started for the occasion is stopped at the end.

    It does not become Dask's default: the caller's other computations, like loading results, stay where they were.
    tasks: the prefixes of the keys of those tasks that take long, for an adaptive cluster. device: of the trainings; a
    local cluster gets one worker a GPU for it.

    Raises:
        ClusterError: no scheduler answers, a port is taken, or jobs are refused.
    """
    settings = cluster.settings
    preloads = [*dask.config.get("distributed.scheduler.preload"), board.PRELOAD]
    dask_settings = {**DASK_SETTINGS, **_durations(settings, tasks), "distributed.scheduler.preload": preloads}
    security = security_of(settings)
    with (
        dask.config.set({**dask_settings, **_LOOK_LESS}),
        _started(cluster, security, dask_settings, device) as (where, supply),
    ):
        options = {"timeout": CONNECT_SECONDS} if isinstance(where, str) else {}
        with Client(where, security=security, set_as_default=False, **options) as client:
            yield Connection(client, supply)


def _durations(settings: ClusterSettings, tasks: Collection[str]) -> dict[str, Any]:
    """What an adaptive scheduler is told of tasks that it has not seen yet."""
    adaptive: AdaptiveSettings | None = getattr(settings, "adaptive", None)
    if adaptive is None:
        return {}
    # Milliseconds, for an exponent would not be read.
    duration = f"{adaptive.task_seconds * 1000:.0f} ms"
    return {"distributed.scheduler.default-task-durations": dict.fromkeys(sorted(tasks), duration)}


def _started(
    cluster: ClusterSpec, security: Security | None, dask_settings: dict[str, Any], device: Device
) -> AbstractContextManager[tuple[Any, Supply]]:
    """An address or a cluster object to connect to, and its supply of workers."""
    settings = cluster.settings
    if isinstance(settings, LocalSettings):
        return local_cluster(settings, security, device_gpus(device))
    if isinstance(settings, JobQueueSettings):
        return jobqueue.started(cluster, settings, security)
    if isinstance(settings, KubernetesSettings):
        return kubernetes.started(cluster, settings, dask_settings)
    return existing_address(settings, security)
