"""Where tasks run: a local Dask cluster, or one that is already there."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from stackpop.errors import ClusterError, explain

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
CONNECT_SECONDS = 10
# Results are small and the client is the only writer, so what matters is that a dying worker never
# takes queued work down with it and that a long task is not mistaken for a dead one.
DASK_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.worker-ttl": "15 minutes",
    "distributed.admin.large-graph-warning-threshold": "1GB",
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
        if self.scheduler and self.scheduler_file:
            raise ClusterError("scheduler, scheduler_file: expected one of them, got both; leave one out")
        if (self.scheduler or self.scheduler_file) and (self.workers or self.dashboard_port is not None):
            raise ClusterError(
                "workers, dashboard_port: expected none with a scheduler that is already there; "
                "they shape a local cluster, so leave them or the scheduler out"
            )
        if self.workers is not None and self.workers < 1:
            raise ClusterError(explain("workers", expected="1 or more", got=self.workers))


@contextmanager
def connect(options: ClusterOptions) -> Iterator[Client]:
    """A client of the chosen cluster; a local one is started for the occasion and stopped at the end.

    Raises:
        ClusterError: no scheduler answers, its workers lack this version of stackpop, or a port is taken.
    """
    with dask.config.set(DASK_SETTINGS):
        if options.scheduler or options.scheduler_file:
            with _existing(options) as client:
                _check_workers(client)
                yield client
        else:
            with _local(options) as cluster, Client(cluster) as client:
                yield client


def local_workers() -> int:
    """Worker processes of a local cluster unless asked otherwise: one a core."""
    return os.cpu_count() or 1


def _local(options: ClusterOptions) -> LocalCluster:
    return LocalCluster(
        n_workers=options.workers or local_workers(),
        threads_per_worker=1,
        processes=True,
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:{_dashboard_port(options.dashboard_port)}",
        silence_logs="CRITICAL",
    )


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
            raise ClusterError(
                explain("dashboard port", expected="a free port", got=f"{port} ({error})", remedy="choose another")
            ) from None
    return port


def _existing(options: ClusterOptions) -> Client:
    if options.scheduler_file:
        address = _address_in(options.scheduler_file)
    else:
        address = str(options.scheduler)
    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            explain(
                "scheduler",
                expected="a Dask scheduler",
                got=f"no answer from {address} within {CONNECT_SECONDS} s ({type(error).__name__})",
                remedy="check the address, start one with `dask scheduler`, or leave it out for a local cluster",
            )
        ) from None


def _address_in(scheduler_file: str) -> str:
    try:
        return str(json.loads(Path(scheduler_file).read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            explain(
                "scheduler file",
                expected="a file written by `dask scheduler --scheduler-file FILE`",
                got=f"{scheduler_file} ({error})",
            )
        ) from None


def _check_workers(client: Client) -> None:
    """Every worker must have this stackpop and this torch: other versions give other bits."""
    mine = _versions()
    for worker, theirs in client.run(_versions, on_error="return").items():
        if theirs != mine:
            raise ClusterError(
                explain(
                    f"worker {worker}",
                    expected=f"the client's versions {mine}",
                    got=theirs,
                    remedy="install the same on every worker",
                )
            )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("stackpop", "torch", "numpy")}
