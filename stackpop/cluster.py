"""Where tasks run: a local Dask cluster, or one that is already there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny
from distributed.core import rpc
from distributed.security import Security

from stackpop.devices import RESOURCE, VISIBLE, Device, check_gpu, has_gpu, no_gpu, visible_gpus
from stackpop.errors import ClusterError, SchedulerLostError, explain
from stackpop.provenance import source_hash

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
ANSWER_SECONDS = 5  # for a scheduler to say that it is one
CONNECT_SECONDS = 10
WAIT_SECONDS = 0.5  # between two looks for a worker
DASK_SETTINGS = {
    # A dying worker must not take queued work down with it, nor a long task pass for a dead worker.
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": "15 minutes",
    # The scheduler's memory must not grow with the number of finished tasks. Its log of recent messages holds
    # whole tasks, and a pack has kilobytes for each of its runs.
    "distributed.admin.low-level-log-length": 20,
    "distributed.scheduler.dashboard.tasks.task-stream-length": 1000,
}


@dataclass(frozen=True)
class ClusterOptions:
    """How to get a cluster.

    scheduler: address of a running scheduler. scheduler_file: the file such a scheduler wrote.
    workers: worker processes of a local cluster, by default one a core. dashboard_port: of a local
    cluster's dashboard, by default 8787 or, if that is taken, a free one.
    """

    scheduler: str | None = None
    scheduler_file: str | None = None
    workers: int | None = None
    dashboard_port: int | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            raise ClusterError("scheduler, scheduler_file: expected one of them, got both; leave one out")
        there_already = self.scheduler is not None or self.scheduler_file is not None
        if there_already and (self.workers is not None or self.dashboard_port is not None):
            raise ClusterError(
                "workers, dashboard_port: expected neither with a scheduler that is already there, got one; "
                "they shape a local cluster, so leave them or the scheduler out"
            )
        if self.workers is not None and self.workers < 1:
            remedy = f"leave it out for one a core ({local_workers()})"
            raise ClusterError(explain("workers", expected="1 or more", got=self.workers, remedy=remedy))


def check_available(options: ClusterOptions, device: Device = "cpu") -> None:
    """A quick look whether the chosen cluster can be had, with the device; nothing is started.

    Raises:
        ClusterError: as `connect` would.
    """
    if options.scheduler is not None or options.scheduler_file is not None:
        _address(options)
    else:
        if device == "cuda":
            check_gpu("this machine")
        _dashboard_port(options.dashboard_port)


@contextmanager
def connect(options: ClusterOptions, gpus: Sequence[str] = ()) -> Iterator[Client]:
    """A client of the chosen cluster; a local one is started for the occasion and stopped at the end.

    gpus: for a local cluster, what `CUDA_VISIBLE_DEVICES` calls the GPUs to use: each worker gets one of them.

    It does not become Dask's default: the caller's other computations, like loading results, stay where they were.

    Raises:
        ClusterError: no scheduler answers, or a port is taken.
    """
    with dask.config.set(DASK_SETTINGS):
        if options.scheduler is not None or options.scheduler_file is not None:
            with _existing(options) as client:
                yield client
        else:
            with _local(options, gpus) as cluster, Client(cluster, set_as_default=False) as client:
                yield client


def local_workers() -> int:
    """Worker processes of a local cluster unless asked otherwise: one a core."""
    return os.cpu_count() or 1


@contextmanager
def _local(options: ClusterOptions, gpus: Sequence[str] = ()) -> Iterator[LocalCluster]:
    cluster = _start_local(options, gpus)
    try:
        yield cluster
    finally:
        try:
            cluster.close()
        finally:
            cluster.shutdown_on_close = False  # Dask would wait ten seconds at exit for a close that was interrupted


def _start_local(options: ClusterOptions, gpus: Sequence[str]) -> LocalCluster:
    port = _dashboard_port(options.dashboard_port)
    resource_tracker.ensure_running()  # first, for its start would lift the mask below
    # The thread that starts workers, and so each of them, inherits this mask: a Ctrl-C, which goes to all processes
    # of a terminal, must stop the client alone, which then stops its workers. Here it waits until the cluster is up.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(
            n_workers=_local_workers(options, gpus),
            worker_class=partial(_OneGPU, gpus) if gpus else None,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:{port}",
            silence_logs="CRITICAL",
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def device_gpus(device: Device) -> list[str]:
    """This machine's GPUs that a device needs: none on the CPU, or where there are none."""
    return [] if device == "cpu" else visible_gpus()


def _local_workers(options: ClusterOptions, gpus: Sequence[str]) -> int:
    """Worker processes of a local cluster: as many as asked for, but at most one a GPU where trainings need one."""
    wanted = options.workers or (len(gpus) or local_workers())
    return min(wanted, len(gpus)) if gpus else wanted


class _OneGPU(Nanny):
    """A worker of a local cluster that sees one GPU, the one of its number, and offers it as a resource."""

    def __init__(self, gpus: Sequence[str], *args: Any, name: int, **options: Any) -> None:
        options |= {"name": name, "env": {VISIBLE: gpus[name]}, "resources": {RESOURCE: 1}}
        super().__init__(*args, **options)


def _dashboard_port(wanted: int | None) -> int:
    """The wanted port, or without a wish the usual one if free, else 0 for any."""
    port = DASHBOARD_PORT if wanted is None else wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            if wanted is None:
                return 0
            reason = getattr(error, "strerror", None) or "no port"
            remedy = "choose another with --dashboard-port, or leave it out for any"
            got = f"{port} ({reason.lower()})"
            raise ClusterError(explain("dashboard port", expected="a free port", got=got, remedy=remedy)) from None
    return port


def _existing(options: ClusterOptions) -> Client:
    return Client(_address(options), timeout=CONNECT_SECONDS, set_as_default=False)


def _address(options: ClusterOptions) -> str:
    """Where a scheduler answers. It is asked first, for a client that finds none hangs and complains at its end."""
    address = _address_in(options.scheduler_file) if options.scheduler_file is not None else str(options.scheduler)
    try:
        with ThreadPoolExecutor(1) as thread:  # of its own: a notebook's runs an event loop already
            thread.submit(asyncio.run, _identify(address)).result()
    except Exception:  # whatever comes of an address that is none, or of a stranger who listens there
        raise ClusterError(
            explain(
                "scheduler",
                expected="the address of a Dask scheduler, like tcp://127.0.0.1:8786",
                got=f"{address!r}, where none answers",
                remedy="check it, start one with `dask scheduler`, or leave it out for a local cluster",
            )
        ) from None
    return address


async def _identify(address: str) -> None:
    """Raises something unless a scheduler answers at an address."""
    arguments = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER_SECONDS, connection_args=arguments) as scheduler:
        await asyncio.wait_for(scheduler.identity(n_workers=0), ANSWER_SECONDS)


def _address_in(scheduler_file: str) -> str:
    try:
        return str(json.loads(Path(scheduler_file).read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "holds no address"
        expected = "a file that a scheduler wrote"
        remedy = "start one with `dask scheduler --scheduler-file FILE`"
        got = f"{scheduler_file} ({reason})"
        raise ClusterError(explain("scheduler file", expected=expected, got=got, remedy=remedy)) from None


class Workers:
    """The workers of a cluster, which may come and go; each is checked once.

    Other versions of the software would give other bits, so every worker must have the client's. Trainings that need
    a GPU go to the workers that offer one, which must have it; those of `auto` do so if any worker offers one, for
    which is asked once.

    resources: what a training asks of a worker.
    """

    def __init__(self, client: Client, device: Device = "cpu") -> None:
        self._client, self._device = client, device
        self._checked: set[str] = set()
        self._with_gpu: set[str] = set()
        self._asked = False
        self.resources: dict[str, float] = {RESOURCE: 1} if device == "cuda" else {}

    def threads(self) -> int:
        """Trainings that the workers which are there now can run at a time: one a thread, or one a GPU.

        Raises:
            SchedulerLostError: it no longer answers.
            ClusterError: a worker has other versions of stackpop, torch or numpy, or lacks one.
        """
        check_connection(self._client)
        try:
            threads: dict[str, int] = self._client.nthreads()
            self._check(sorted(threads.keys() - self._checked))
            offered = {} if self._device == "cpu" else self._offered()
        except OSError as error:
            raise SchedulerLostError from error
        if self._device == "auto" and not self._asked and threads:
            self._asked, self.resources = True, {RESOURCE: 1} if offered else {}
        return int(sum((offered if self.resources else threads).values()))

    def wait(self, waiting: Callable[[str], None]) -> int:
        """Wait until there is a worker; returns the threads. `waiting` is told once, if that takes time."""
        while not (threads := self.threads()):
            address, needed = self._client.scheduler_info(n_workers=0)["address"], ""
            if self.resources:
                needed = f" that offers a GPU (`dask worker {address} --nthreads 1 --resources {RESOURCE}=1`)"
            waiting(f"waiting for a worker{needed} to join {address}")
            waiting = _say_no_more
            try:
                self._client.wait_for_workers(1, timeout=WAIT_SECONDS)
            except TimeoutError:
                continue
            if self.resources:  # there are workers, and none that will do
                time.sleep(WAIT_SECONDS)
        return threads

    def _offered(self) -> dict[str, float]:
        """GPUs by worker, of those that offer any."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        found = {address: worker.get("resources", {}).get(RESOURCE, 0) for address, worker in workers.items()}
        offered = {address: gpus for address, gpus in found.items() if gpus}
        if self._device == "cuda":
            self._check_gpus(sorted(offered.keys() - self._with_gpu))
        return offered

    def _check_gpus(self, addresses: list[str]) -> None:
        answers = self._client.run(has_gpu, workers=addresses, on_error="return") if addresses else {}
        for address, answer in answers.items():
            if answer is False:
                raise ClusterError(no_gpu(f"worker {address}"))
            if answer is True:
                self._with_gpu.add(address)

    def _check(self, addresses: list[str]) -> None:
        mine = _versions()
        answers = self._client.run(_versions, workers=addresses, on_error="return") if addresses else {}
        for address, theirs in answers.items():
            if isinstance(theirs, OSError):
                continue  # it left before it could answer
            if theirs != mine:
                raise ClusterError(_difference(address, mine, theirs))
            self._checked.add(address)


def check_connection(client: Client) -> None:
    """Raises SchedulerLostError unless the client is connected."""
    if client.status != "running":
        raise SchedulerLostError


def dashboard(client: Client) -> str | None:
    """Address of the cluster's dashboard; None if it has none."""
    return client.dashboard_link if "dashboard" in client.scheduler_info(n_workers=0)["services"] else None


def _say_no_more(_: str) -> None:
    pass


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("stackpop", "torch", "numpy")}
    return {**packages, "stackpop's source": source_hash()}


def _difference(address: str, mine: dict[str, str], theirs: object) -> str:
    """What a worker has that the client has not."""
    expected, got = "the client's versions", f"{type(theirs).__name__}: {theirs}"
    if isinstance(theirs, dict):
        differ = [name for name in mine if theirs.get(name) != mine[name]]
        expected = ", ".join(f"{name} {mine[name]}" for name in differ)
        got = ", ".join(f"{name} {theirs.get(name, 'unknown')}" for name in differ)
    remedy = "install the client's versions on every worker"
    return explain(f"worker {address}", expected=expected, got=got, remedy=remedy)
