"""Where the tasks of a sweep run: the settings of `cluster:` in a sweep file and of the file of `--cluster`.

They are no part of any run: a sweep has the same runs, and its store the same results, on every cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt

from stackpop.settings import Settings

JobQueue = Literal["slurm", "pbs", "sge", "lsf", "oar", "htcondor"]
Share = Annotated[str, Field(min_length=1)]  # of a machine: a path or an address


class TLSFiles(Settings):
    """PEM files for encrypted connections: of the authority, and of this side's certificate and key."""

    ca_file: Share
    cert: Share
    key: Share


class AdaptiveSettings(Settings):
    """Grow and shrink with the work there is: jobs of a batch system, workers of Kubernetes.

    task_seconds: about how long a task takes. The scheduler reckons with it until it has seen some, and would else
    take each for half a second, for which no second worker pays.
    """

    minimum: PositiveInt = 1
    maximum: PositiveInt
    task_seconds: PositiveFloat = 60.0


class LocalSettings(Settings):
    """Worker processes of this machine, for the time of the sweep.

    workers: by default one a core. dashboard_port: by default 8787 or, if that is taken, a free one.
    """

    kind: Literal["local"] = "local"
    workers: PositiveInt | None = None
    dashboard_port: int | None = None
    tls: Literal["auto"] | None = None


class AddressSettings(Settings):
    """A scheduler that is there already, by its address. wait_seconds: to go on without any worker; null: for ever."""

    kind: Literal["address"] = "address"
    address: Share
    wait_seconds: PositiveFloat | None = None
    tls: TLSFiles | None = None


class SchedulerFileSettings(Settings):
    """A scheduler that is there already, by the file that it wrote; see `AddressSettings`."""

    kind: Literal["scheduler-file"] = "scheduler-file"
    file: Share
    wait_seconds: PositiveFloat | None = None
    tls: TLSFiles | None = None


class JobQueueSettings(Settings):
    """Jobs of a batch system, submitted from this machine, which holds the scheduler.

    jobs: how many; one that ends before the sweep does is submitted again. adaptive: as many as pay, instead.
    wait_seconds: to go on without any worker, at the start or later, before giving up.
    options: of the cluster class in dask_jobqueue, like queue, cores, memory, walltime and interface.
    """

    kind: JobQueue
    jobs: PositiveInt = 1
    adaptive: AdaptiveSettings | None = None
    wait_seconds: PositiveFloat = 1800.0
    tls: Literal["auto"] | TLSFiles | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class KubernetesSettings(Settings):
    """A DaskCluster that the Dask operator makes for the sweep; see `JobQueueSettings`.

    options: of `dask_kubernetes.operator.KubeCluster`, like image, namespace and resources.
    """

    kind: Literal["kubernetes"] = "kubernetes"
    workers: PositiveInt = 1
    adaptive: AdaptiveSettings | None = None
    wait_seconds: PositiveFloat = 1800.0
    options: dict[str, Any] = Field(default_factory=dict)


ClusterSettings = LocalSettings | AddressSettings | SchedulerFileSettings | JobQueueSettings | KubernetesSettings
SIZES = {"jobs": JobQueueSettings, "workers": KubernetesSettings}  # what `adaptive` takes the place of
KINDS: Mapping[str, type[ClusterSettings]] = {
    "local": LocalSettings,
    "address": AddressSettings,
    "scheduler-file": SchedulerFileSettings,
    **dict.fromkeys(get_args(JobQueue), JobQueueSettings),
    "kubernetes": KubernetesSettings,
}


@dataclass(frozen=True)
class ClusterSpec:
    """A validated cluster. places: key, or `options.` and a key -> where it stands in a file, for messages."""

    settings: ClusterSettings
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def at(self, key: str) -> str:
        """A setting as messages name it: after its place, or that of the nearest one, if it came from a file."""
        place = next((self.places[each] for each in (key, "options", "kind") if each in self.places), "")
        return f"{place}: cluster.{key}" if place else f"cluster.{key}"

    def plain(self) -> dict[str, Any]:
        """The section as YAML holds it, without what has its default."""
        return {"kind": self.settings.kind, **self.settings.model_dump(exclude_defaults=True)}
