"""The workers of a cluster, as a sweep sees them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from distributed import Client

from stackpop.cluster.board import PAGE, is_shown
from stackpop.cluster.gpus import OfferedGPUs
from stackpop.cluster.supply import Supply
from stackpop.devices import Device
from stackpop.errors import ClusterError, NoWorkerError, SchedulerLostError, explain
from stackpop.provenance import source_hash

WAIT_SECONDS = 0.5  # between two looks for a worker
EXIT_SECONDS = 5  # for a worker to do as it is told
RESTART_SECONDS = 30  # for its nanny to replace it


class Workers:
    """The workers of a cluster, which may come and go; each is checked once.

    Other versions of the software would give other bits, so every worker must have the client's. Trainings on a device
    go to the workers that offer it, see `OfferedGPUs`.
    """

    def __init__(self, client: Client, supply: Supply | None = None, device: Device = "cpu") -> None:
        self._client, self._gpus = client, OfferedGPUs(client, device)
        self._supply = supply or Supply()
        self._checked: set[str] = set()
        self._restarts: list[Future[None]] = []
        self._met = time.monotonic()  # when there was a worker last, or the wait for the first began

    def threads(self) -> int:
        """Trainings that the workers which are there now can run at a time, one a thread or one a GPU.

        Lost workers are seen to. Call it about once a second.

        Raises:
            SchedulerLostError: it no longer answers.
            NoWorkerError: there was none for too long.
            ClusterError: a worker has other versions of stackpop, torch or numpy, or lacks one, or a GPU.
        """
        check_connection(self._client)
        self._supply.tend()
        try:
            threads: dict[str, int] = self._client.nthreads()
            self._check(sorted(threads.keys() - self._checked))
            slots = self._gpus.slots(threads)
        except OSError as error:
            raise SchedulerLostError from error
        if slots:
            self._met = time.monotonic()
        elif self._supply.wait_seconds is not None and time.monotonic() - self._met > self._supply.wait_seconds:
            raise NoWorkerError(self._supply.wait_seconds, self._supply.state)
        return slots

    def restart(self, address: str) -> None:
        """End the process of a worker, whatever its threads do; its nanny, if it has one, starts another.

        Returns at once; see `settle`.
        """
        loop: Any = self._client.loop  # a Tornado one, which is asyncio's
        restart = _restart(self._client, address)
        self._restarts.append(asyncio.run_coroutine_threadsafe(restart, loop.asyncio_loop))

    def settle(self) -> None:
        """Wait for the workers that are restarting to be gone."""
        wait(self._restarts, EXIT_SECONDS + RESTART_SECONDS)
        self._restarts.clear()

    @property
    def resources(self) -> dict[str, float]:
        """What a training asks of a worker."""
        return self._gpus.resources

    @property
    def threads_to_come(self) -> int:
        """Threads when all workers are there, as far as that is known; 0 if not."""
        return self._supply.threads

    def wait(self, waiting: Callable[[str], None]) -> int:
        """Wait until there is a worker; returns the threads. `waiting` is told once, if that takes time."""
        while not (threads := self.threads()):
            waiting(self._waiting())
            waiting = _say_no_more
            try:
                self._client.wait_for_workers(1, timeout=WAIT_SECONDS)
            except TimeoutError:
                continue
            if self.resources:  # there are workers, and none that will do
                time.sleep(WAIT_SECONDS)
        return threads

    def _waiting(self) -> str:
        address = self._client.scheduler_info(n_workers=0)["address"]
        text = f"waiting for a worker{self._gpus.needed(address)} to join {address}"
        limit = self._supply.wait_seconds
        state = f" ({self._supply.state})" if self._supply.state else ""
        return text + ("" if limit is None else f" for at most {limit:g} s") + state

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
    """Address to watch a sweep at: its page, or Dask's where the scheduler has not got that; None if it has neither."""
    if "dashboard" not in client.scheduler_info(n_workers=0)["services"]:
        return None
    link = str(client.dashboard_link)
    with suppress(Exception):  # whatever a scheduler says that does not know stackpop
        if client.run_on_scheduler(is_shown):
            return link.removesuffix("/status") + PAGE
    return link


async def _restart(client: Client, address: str) -> None:
    try:
        await asyncio.wait_for(client.run(os._exit, 1, workers=[address], on_error="return"), EXIT_SECONDS)
    except TimeoutError:  # it does not listen: its nanny kills it, or the scheduler removes it
        scheduler: Any = client.scheduler
        with suppress(OSError):
            await scheduler.restart_workers(
                workers=[address],
                timeout=RESTART_SECONDS,
                wait_for_workers=False,
                on_error="return",
                stimulus_id=f"stackpop-restart-{time.time()}",
            )
    except OSError:  # it is gone
        return


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
