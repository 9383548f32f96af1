"""One writer at a time where no operating system watches over a lock: a lease, kept by conditional writes.

The lease is an object beside the store. Making it succeeds only where there is none (If-None-Match), and every later
write of it names the version that is to be replaced (If-Match), so of two that try, one wins. Its holder renews it
every BEAT_SECONDS. Another may take over

* at once, if the holder was a process of this very machine that is gone, or
* when it was not renewed for LEASE_SECONDS by the clock of the storage, which stamps it: no two clocks are compared.

A holder that could not renew for STALE_SECONDS, because the network was cut or its machine slept, renews before it
writes anything, and stops if it cannot: the difference is more than a request that was sent before can last. What a
request might still do after that, the versions of the contents themselves prevent (see `objects.Fenced`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from stackpop.errors import StoreError, explain
from stackpop.store.location import WriterInfo
from stackpop.store.lock import in_use, this_writer

if TYPE_CHECKING:
    from obstore import UpdateVersion

BEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0
STALE_SECONDS = 25.0
_TRIES = 3


class Conflict(Exception):  # noqa: N818 no error where two try
    """A conditional write found another version than it named."""


class LeaseObject(Protocol):
    """The object that holds the lease; all raise StoreError if the storage refuses."""

    def put(self, content: bytes, version: UpdateVersion | None) -> UpdateVersion:
        """Replace that version, or None at all; raises Conflict."""

    def get(self) -> tuple[bytes, UpdateVersion, datetime] | None:
        """Content, version and when the storage got it; None if there is none."""

    def now(self) -> datetime:
        """What the clock of the storage says."""

    def delete(self) -> None:
        """Remove it."""


@dataclass(frozen=True)
class Holding:
    """The content of the lease. Each beat makes it another content, and so another version."""

    writer: WriterInfo
    process: str  # which process of which machine; see `this_process`
    token: str  # of one lease
    beat: int = 0

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, content: bytes) -> Holding:
        """What no writer of ours wrote is held by nobody that is known."""
        try:
            values = json.loads(content)
            return cls(**{**values, "writer": WriterInfo(**values["writer"])})
        except (ValueError, TypeError, KeyError):
            return cls(WriterInfo(0, "unknown", "an unknown time"), "", "")


class Lease:
    """The exclusive right to write to the store that `store` names; see `location.Lock`.

    A thread of its own renews it. Raises StoreError if another holds it, or if the storage ignores conditions.
    """

    def __init__(self, store: str, thing: LeaseObject) -> None:
        self._store, self._thing = store, thing
        self._mutex = threading.Lock()  # of the four below
        self._holding = Holding(this_writer(), this_process(), uuid4().hex)
        self._lost: StoreError | None = None
        self._version, self.found_left_behind = self._acquire()
        self._renewed = _now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="stackpop lease", daemon=True)
        self._thread.start()

    def _acquire(self) -> tuple[UpdateVersion, bool]:
        for _ in range(_TRIES):
            try:
                version = self._thing.put(self._holding.encode(), None)
            except Conflict:
                if found := self._thing.get():
                    return self._take_over(found), True
            else:
                return self._check_conditions(version), False
        raise in_use(self._store, Holding.decode(b"").writer)  # it was released each time that we looked

    def _check_conditions(self, version: UpdateVersion) -> UpdateVersion:
        """See that the storage refuses what must not be; returns the version that is there afterwards."""
        old, self._holding = self._holding, replace(self._holding, beat=1)
        new = self._thing.put(self._holding.encode(), version)
        for wrong in (None, version):
            with suppress(Conflict):
                self._thing.put(old.encode(), wrong)
                self._thing.delete()
                field, remedy = f"store {self._store}", "use a server that does, or a local folder"
                expected = "storage that honours If-None-Match and If-Match, so that there is one writer"
                raise StoreError(explain(field, expected=expected, got="one that does not", remedy=remedy))
        return new

    def _take_over(self, found: tuple[bytes, UpdateVersion, datetime]) -> UpdateVersion:
        content, version, stamped = found
        holding = Holding.decode(content)
        if not is_gone(holding.process):
            age = (self._thing.now() - stamped).total_seconds()
            if age < LEASE_SECONDS:
                raise in_use(self._store, holding.writer, _if_dead(age))
        try:
            return self._thing.put(self._holding.encode(), version)
        except Conflict:  # it is alive after all, or a third was faster
            raise in_use(self._store, holding.writer) from None

    def check(self) -> None:
        """See `Lock`."""
        with self._mutex:
            if self._lost is None and _now() - self._renewed > STALE_SECONDS:
                self._renew()
            if self._lost is not None:
                raise self._lost

    def _keep(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with self._mutex, suppress(StoreError):  # an outage, which may pass
                self._renew()
            if self._lost is not None:
                return

    def _renew(self) -> None:
        holding = replace(self._holding, beat=self._holding.beat + 1)
        begun = _now()
        try:
            self._version = self._thing.put(holding.encode(), self._version)
        except Conflict:
            found = self._thing.get()
            if found is None or (other := Holding.decode(found[0])).token != holding.token:
                self._lost = self._taken(None if found is None else other.writer)
                return
            self._version = found[1]  # our own write, whose answer did not reach us
        self._holding, self._renewed = holding, begun

    def _taken(self, by: WriterInfo | None) -> StoreError:
        got = f"it taken over by {by}" if by else "its lock deleted"
        remedy = "what was recorded is safe; run the same command again when no other writes"
        return StoreError(explain(f"store {self._store}", expected="to stay its writer", got=got, remedy=remedy))

    def release(self) -> None:
        """See `Lock`; what is not surely ours any more is left to expire."""
        self._over.set()
        self._thread.join()
        with suppress(StoreError):
            self.check()
            self._thing.delete()


def holder(thing: LeaseObject) -> WriterInfo | None:
    """Who holds a lease now, judged by this machine's clock, for it is only told to people."""
    found = thing.get()
    if found is None:
        return None
    content, _, stamped = found
    holding = Holding.decode(content)
    expired = (datetime.now(UTC) - stamped).total_seconds() > LEASE_SECONDS
    return None if expired or is_gone(holding.process) else holding.writer


def _if_dead(age: float) -> str:
    return f" (if it was killed: its lease ends in {max(1, round(LEASE_SECONDS - age))} s)"


def this_process() -> str:
    """What no other process of any machine has: boot and namespace, process number, and when it started."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a process is known to have ended: it was one of this machine."""
    machine, _, rest = process.partition(" ")
    number, _, started = rest.partition(" ")
    return bool(machine) and machine == _machine() and number.isdecimal() and _started(int(number)) != started


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(number: int) -> str:
    """When a process started, in ticks since the boot; "" if there is none, or it only waits to be buried."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # unlike monotonic, it goes on while a machine sleeps
