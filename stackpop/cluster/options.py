"""What is asked for besides the sweep file: on the command line or from Python."""

from __future__ import annotations

from dataclasses import dataclass

from stackpop.cluster.local import local_workers
from stackpop.errors import ClusterError, explain
from stackpop.spec import ClusterSpec
from stackpop.spec.cluster import AddressSettings, LocalSettings, SchedulerFileSettings


@dataclass(frozen=True)
class ClusterOptions:
    """How to get a cluster; what is left out is up to the sweep file.

    scheduler: address of a running scheduler. scheduler_file: the file such a scheduler wrote.
    workers: worker processes of a local cluster, by default one a core. dashboard_port: of a local
    cluster's dashboard, by default 8787 or, if that is taken, a free one. file: what `load_cluster` made of one.
    """

    scheduler: str | None = None
    scheduler_file: str | None = None
    workers: int | None = None
    dashboard_port: int | None = None
    file: ClusterSpec | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            raise ClusterError("scheduler, scheduler_file: expected one of them, got both; leave one out")
        there_already = self.scheduler is not None or self.scheduler_file is not None
        if there_already and self._shapes_local:
            raise ClusterError(
                "workers, dashboard_port: expected neither with a scheduler that is already there, got one; "
                "they shape a local cluster, so leave them or the scheduler out"
            )
        if self.workers is not None and self.workers < 1:
            remedy = f"leave it out for one a core ({local_workers()})"
            raise ClusterError(explain("workers", expected="1 or more", got=self.workers, remedy=remedy))

    @property
    def _shapes_local(self) -> bool:
        return self.workers is not None or self.dashboard_port is not None

    def over(self, section: ClusterSpec | None) -> ClusterSpec:
        """The cluster that is meant, first come first served: an option, the cluster file, a sweep file's section."""
        named = self.file or section or ClusterSpec(LocalSettings())
        settings = named.settings
        seconds, tls = None, None
        if isinstance(settings, AddressSettings | SchedulerFileSettings):
            seconds, tls = settings.wait_seconds, settings.tls
        if self.scheduler is not None:
            return ClusterSpec(AddressSettings(address=self.scheduler, wait_seconds=seconds, tls=tls))
        if self.scheduler_file is not None:
            return ClusterSpec(SchedulerFileSettings(file=self.scheduler_file, wait_seconds=seconds, tls=tls))
        if not self._shapes_local:
            return named
        base = settings if isinstance(settings, LocalSettings) else LocalSettings()
        given = {"workers": self.workers, "dashboard_port": self.dashboard_port}
        return ClusterSpec(base.model_copy(update={key: value for key, value in given.items() if value is not None}))
