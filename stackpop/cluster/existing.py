"""A scheduler that is there already."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from distributed.core import rpc
from distributed.security import Security

from stackpop.cluster.security import check_security, security_of
from stackpop.cluster.supply import Supply
from stackpop.errors import ClusterError, explain
from stackpop.spec.cluster import AddressSettings, SchedulerFileSettings

ANSWER_SECONDS = 5  # for a scheduler to say that it is one

Existing = AddressSettings | SchedulerFileSettings


def check_existing(settings: Existing) -> None:
    """Raises ClusterError unless a scheduler answers."""
    check_security(settings)
    _address(settings, security_of(settings))


@contextmanager
def existing_address(settings: Existing, security: Security | None) -> Iterator[tuple[str, Supply]]:
    """The address of a scheduler that answers; whoever started it, stops it."""
    yield _address(settings, security), Supply(wait_seconds=settings.wait_seconds)


def _address(settings: Existing, security: Security | None) -> str:
    """Where a scheduler answers. It is asked first, for a client that finds none hangs and complains at its end."""
    address = settings.address if isinstance(settings, AddressSettings) else _address_in(settings.file)
    try:
        with ThreadPoolExecutor(1) as thread:  # of its own: a notebook's runs an event loop already
            thread.submit(asyncio.run, _identify(address, security or Security())).result()
    except Exception:  # whatever comes of an address that is none, or of a stranger who listens there
        secret = address.startswith("tls://") and security is None
        raise ClusterError(
            explain(
                "scheduler",
                expected="the address of a Dask scheduler, like tcp://127.0.0.1:8786",
                got=f"{address!r}, where none answers",
                remedy="it wants a certificate: give the files of `tls:` in a cluster file"
                if secret
                else "check it, start one with `dask scheduler`, or leave it out for a local cluster",
            )
        ) from None
    return address


async def _identify(address: str, security: Security) -> None:
    """Raises something unless a scheduler answers at an address."""
    arguments = security.get_connection_args("client")
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
