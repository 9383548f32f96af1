"""Worker processes of this machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from threading import current_thread, main_thread

from distributed import LocalCluster
from distributed.security import Security

from stackpop.cluster.gpus import OneGPU
from stackpop.cluster.security import check_security
from stackpop.cluster.supply import Supply
from stackpop.devices import Device, check_gpu
from stackpop.errors import ClusterError, explain
from stackpop.spec.cluster import LocalSettings

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787


def local_workers() -> int:
    """Worker processes of a local cluster unless asked otherwise: one a core."""
    return os.cpu_count() or 1


def check_local(settings: LocalSettings, device: Device = "cpu") -> None:
    """Raises ClusterError unless the dashboard's port is free, and a GPU is there if the device needs one."""
    check_security(settings)
    if device == "cuda":
        check_gpu("this machine")
    dashboard_port(settings.dashboard_port)


@contextmanager
def local_cluster(
    settings: LocalSettings, security: Security | None = None, gpus: Sequence[str] = ()
) -> Iterator[tuple[LocalCluster, Supply]]:
    """A local cluster, for a while.

    gpus: what `CUDA_VISIBLE_DEVICES` calls the GPUs to use: each worker gets one of them, so there are no more workers.
    """
    workers = settings.workers or len(gpus) or local_workers()
    workers = min(workers, len(gpus)) if gpus else workers
    cluster = _start(workers, dashboard_port(settings.dashboard_port), security, gpus)
    try:
        yield cluster, Supply(workers)
    finally:
        try:
            cluster.close()
        finally:
            cluster.shutdown_on_close = False  # Dask would wait ten seconds at exit for a close that was interrupted


def _start(workers: int, port: int, security: Security | None, gpus: Sequence[str]) -> LocalCluster:
    resource_tracker.ensure_running()  # first, for its start would lift the mask of `_uninterrupted`
    with _uninterrupted():
        return LocalCluster(
            n_workers=workers,
            worker_class=partial(OneGPU, gpus) if gpus else None,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:{port}",
            silence_logs="CRITICAL",
            security=security,
        )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Interruptions wait until a cluster is up: one that is half there cannot be closed in order.

    The thread that starts workers, and so each of them, inherits the mask: a Ctrl-C, which goes to all processes of a
    terminal, must stop the client alone, which then stops its workers. SIGTERM is held back in this process only, for
    that is how workers are ended.
    """
    held: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = None
    if current_thread() is main_thread():  # no other may set handlers, or is ever interrupted
        handler = signal.signal(signal.SIGTERM, lambda number, _: held.append(number))
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if held:
            signal.raise_signal(signal.SIGTERM)


def dashboard_port(wanted: int | None = None) -> int:
    """The wanted port, or without a wish the usual one if free, else 0 for any.

    Raises:
        ClusterError: the wanted one is taken or is none.
    """
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
