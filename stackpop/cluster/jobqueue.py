"""Jobs of a batch system, by dask-jobqueue: the scheduler is here, and each job brings workers."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import dask
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.spec import SpecCluster
from distributed.security import Security

from stackpop.cluster.library import check_options, library, parameters, refused
from stackpop.cluster.local import LOOPBACK, dashboard_port
from stackpop.cluster.security import check_security
from stackpop.cluster.supply import Supply
from stackpop.errors import ClusterError, did_you_mean, explain
from stackpop.spec import ClusterSpec
from stackpop.spec.cluster import JobQueueSettings

# Kind -> the class in dask_jobqueue, and the command that tells of jobs.
SYSTEMS = {
    "slurm": ("SLURMCluster", "squeue -j {}"),
    "pbs": ("PBSCluster", "qstat {}"),
    "sge": ("SGECluster", "qstat -j {}"),
    "lsf": ("LSFCluster", "bjobs {}"),
    "oar": ("OARCluster", "oarstat -j {}"),
    "htcondor": ("HTCondorCluster", "condor_q {}"),
}
OURS = {
    "n_workers": "write `jobs`, beside `options`",
    "security": "write `tls`, beside `options`",
    "dashboard_address": "write it below `scheduler_options`",
    "host": "write it below `scheduler_options`",
    **dict.fromkeys(
        ("self", "scheduler", "name", "loop", "asynchronous", "job_cls", "scheduler_cls", "silence_logs", "protocol"),
        "remove it",
    ),
}
GRACE_SECONDS = 5.0  # after Dask itself gave up a job
RETRY_SECONDS = 5.0  # between two times that jobs are submitted again
DANGER = "whoever reaches the scheduler can run code as you"


def check(cluster: ClusterSpec, settings: JobQueueSettings) -> None:
    """Whether jobs could be submitted: the library is there, takes the options, and so is the batch system's command.

    Raises:
        ClusterError: otherwise.
    """
    kind = _class(cluster)
    job, owner = kind.job_cls, f"dask_jobqueue.{kind.__name__}"
    theirs = [each for each in (*kind.__mro__, *job.__mro__) if each.__module__.startswith("dask_jobqueue")]
    check_options(cluster, settings.options, parameters(each.__init__ for each in theirs), OURS, owner)
    check_security(settings)
    _check_host(cluster, settings)
    try:
        _example(kind, _options(settings))
    except Exception as error:  # whatever the library makes of it
        raise refused(cluster, owner, error) from None
    command = shlex.split(job.submit_command)[0]
    if shutil.which(command) is None:
        got = f"one without the command {command}"
        expected = f"a machine from which jobs of {settings.kind} can be submitted"
        remedy = "run it on a login node, or choose another cluster"
        raise ClusterError(explain(cluster.at("kind"), expected=expected, got=got, remedy=remedy))


def _class(cluster: ClusterSpec) -> Any:
    return getattr(library(cluster, "dask_jobqueue", "jobqueue"), SYSTEMS[cluster.settings.kind][0])


def _example(kind: Any, options: Mapping[str, Any]) -> Any:
    """A job with these options that is not submitted."""
    of_cluster = parameters(each.__init__ for each in kind.__mro__ if each.__name__ == "JobQueueCluster")
    of_job = {name: value for name, value in options.items() if name not in of_cluster}
    shared = {name: options[name] for name in ("interface", "config_name") if name in options}
    return kind.job_cls("tcp://nobody", name="example", **of_job, **shared)


def _check_host(cluster: ClusterSpec, settings: JobQueueSettings) -> None:
    """The scheduler listens where it was asked to: neither everywhere, nor on loopback, where jobs could not see it."""
    config = dask.config.get(f"jobqueue.{settings.kind}", {})
    scheduler = settings.options.get("scheduler_options", config.get("scheduler-options")) or {}
    interface = settings.options.get("interface", config.get("interface"))
    if not interface and not {"host", "interface", "contact_address"} & set(scheduler):
        expected = "the network interface over which jobs reach this machine, or scheduler_options: {host: ...}"
        remedy = f"name it, for instance ib0 (see `ip addr`); {DANGER}, unless you say `tls: auto`"
        raise ClusterError(explain(cluster.at("options.interface"), expected=expected, got="nothing", remedy=remedy))
    name = scheduler.get("interface", None if "host" in scheduler else interface)
    known = [each for _, each in socket.if_nameindex()]
    if name and name not in known:
        field, remedy = cluster.at("options.interface"), did_you_mean(str(name), known)
        raise ClusterError(explain(field, expected="a network interface", got=repr(name), remedy=remedy))


def _options(settings: JobQueueSettings) -> dict[str, Any]:
    """What the library is given: the user's options, and one worker process a core with no dashboard of its own."""
    config = dask.config.get(f"jobqueue.{settings.kind}", {})
    options = dict(settings.options)
    cores = options.get("cores", config.get("cores"))
    if options.get("processes", config.get("processes")) is None and cores is not None:
        options["processes"] = cores
    if not options.get("worker_extra_args", config.get("worker-extra-args")):
        options["worker_extra_args"] = ["--no-dashboard"]
    if settings.tls == "auto" and not options.get("shared_temp_directory", config.get("shared-temp-directory")):
        options["shared_temp_directory"] = os.getcwd()  # for the certificate, as long as the cluster lives
    scheduler = options.get("scheduler_options", config.get("scheduler-options")) or {}
    options["scheduler_options"] = {"dashboard_address": f"{LOOPBACK}:{dashboard_port()}", **scheduler}
    return options


@contextmanager
def started(
    cluster: ClusterSpec, settings: JobQueueSettings, security: Security | None
) -> Iterator[tuple[SpecCluster, Supply]]:
    """A scheduler in this process and submitted jobs, for a while.

    Raises:
        ClusterError: the library or the batch system refuses.
    """
    kind = _class(cluster)
    owner = f"dask_jobqueue.{kind.__name__}"
    try:
        batch = kind(**_options(settings), security=security, silence_logs="CRITICAL")
    except Exception as error:
        raise refused(cluster, owner, error) from None
    try:
        supply = JobSupply(batch, settings)
        try:
            supply.submit()
        except Exception as error:
            raise _not_submitted(cluster, settings, error) from None
        yield batch, supply
    finally:
        for job in batch.workers.values():
            job.status = Status.closed  # Dask asserts it in the end, and dask-jobqueue leaves it as it is
        try:
            batch.close()
        finally:
            batch.shutdown_on_close = False  # as for a local cluster


def _not_submitted(cluster: ClusterSpec, settings: JobQueueSettings, error: Exception) -> ClusterError:
    """What the submit command said, of the report that dask-jobqueue makes of its failure."""
    text = str(error).partition("stderr:")[2] or str(error)
    remedy = "change `options`, or look at `job_extra_directives`"
    got = " ".join(text.split())
    return ClusterError(explain(cluster.at("kind"), expected=f"{settings.kind} to take jobs", got=got, remedy=remedy))


class JobSupply(Supply):
    """Workers that come with jobs; a job that had workers and lost them for good is submitted again.

    dask-jobqueue itself does so only where it adapts, and for jobs of one process. A job that never had a worker is
    left alone: it waits in the queue, or it is no use to try again.
    """

    def __init__(self, batch: Any, settings: JobQueueSettings) -> None:
        jobs = settings.adaptive.maximum if settings.adaptive else settings.jobs
        example = batch.new_spec["cls"]("tcp://nobody", name="example", **batch.new_spec["options"])
        threads = example.worker_processes * example.worker_process_threads
        super().__init__(jobs * threads, settings.wait_seconds)
        self._batch, self._settings = batch, settings
        lost = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        self._lost_seconds = lost + GRACE_SECONDS
        self._seen: dict[str, float] = {}  # job -> when a worker of it was there last
        self._tried, self._trouble = 0.0, ""  # when jobs were submitted again last, and what the batch system said
        if not security_is_on(batch) and not _is_loopback(batch.scheduler.address):
            self.warning = f"the scheduler listens at {batch.scheduler.address}, and {DANGER}; `tls: auto` locks it"

    def submit(self) -> None:
        """Ask for the jobs of the start; raises what dask-jobqueue raises if they are refused."""
        adaptive = self._settings.adaptive
        self._batch.sync(self._scale, adaptive.minimum if adaptive else self._settings.jobs)
        if adaptive:
            self._batch.adapt(minimum_jobs=adaptive.minimum, maximum_jobs=adaptive.maximum)

    async def _scale(self, jobs: int) -> None:
        self._batch.scale(jobs=jobs)
        await self._batch
        for job in list(self._batch.workers.values()):
            await job  # of a job that could not be submitted, the error was lost: this tries once more

    def tend(self) -> None:
        """Submit lost jobs again; if that fails, once more in a while."""
        now = time.monotonic()
        self._seen |= dict.fromkeys(self._present(), now)
        self._seen = {job: last for job, last in self._seen.items() if job in self._batch.worker_spec}
        lost = [job for job, last in self._seen.items() if now - last > self._lost_seconds]
        if not (lost or self._trouble) or now - self._tried < RETRY_SECONDS:
            return
        self._tried = now
        for job in lost:
            del self._seen[job]  # for its name may come again
        try:
            self._batch.sync(self._renew, lost)
            self._trouble = ""
        except (RuntimeError, ValueError, OSError) as error:  # the batch system may be away for a while
            self._trouble = " ".join(str(error).partition("stderr:")[2].split() or str(error).split())

    def _present(self) -> Collection[str]:
        """The jobs that have workers now. Those of a job with several processes are called JOB-0, JOB-1 and so on."""
        spec = self._batch.worker_spec
        names = [str(worker.name) for worker in list(self._batch.scheduler.workers.values())]
        return {name if name in spec else name.rpartition("-")[0] for name in names}

    async def _renew(self, lost: list[str]) -> None:
        if lost:
            await self._batch.scale_down(lost)
        if self._settings.adaptive is None:
            await self._scale(self._settings.jobs)

    @property
    def state(self) -> str:
        """The jobs, and the command that tells of them."""
        ids = [str(job.job_id) for job in list(self._batch.workers.values()) if job.job_id]
        command = SYSTEMS[self._settings.kind][1].format(
            ",".join(ids) if self._settings.kind == "slurm" else " ".join(ids)
        )
        found = (
            f"{len(ids)} jobs of {self._settings.kind}, see `{command}`" if ids else f"no job of {self._settings.kind}"
        )
        return f"{found}; {self._trouble}" if self._trouble else found


def security_is_on(batch: Any) -> bool:
    """Whether a cluster lets in only those who have a certificate."""
    return bool(batch.security.require_encryption)


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
