"""One writer at a time: an exclusive lock that the operating system drops when its process dies.

The lock file lies beside the store, never in it, so Zarr meets no file that it does not know.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from stackpop.errors import StoreError, explain
from stackpop.store.location import WriterInfo

_PATIENCE_SECONDS = 0.5  # `writer_of` holds the lock for an instant: a writer that starts just then waits it out
_POLL_SECONDS = 0.02


def lock_path(store: Path) -> Path:
    """The lock file of a store."""
    return store.with_name(store.name + ".lock")


def writer_of(store: Path) -> WriterInfo | None:
    """Who is writing to `store` now, or None. A lock file that a killed writer left behind counts as none."""
    try:
        descriptor = os.open(lock_path(store), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


class StoreLock:
    """The exclusive right to write to one store, held from construction to `release`.

    `found_left_behind` tells that the last writer did not release it: it was killed.

    Raises:
        StoreError: another process (or another writer in this one) holds it.
        OSError: the lock file cannot be written.
    """

    def __init__(self, store: Path) -> None:
        self._path = lock_path(store)
        self._descriptor, self.found_left_behind = self._acquire(store)
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(this_writer())).encode(), 0)
        except OSError:
            self.release()
            raise

    def _acquire(self, store: Path) -> tuple[int, bool]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                os.close(descriptor)
                if time.monotonic() > deadline:
                    raise in_use(store, holder) from None
                time.sleep(_POLL_SECONDS)
                continue
            except OSError:
                os.close(descriptor)
                raise
            if self._is_current(descriptor):
                return descriptor, os.fstat(descriptor).st_size > 0
            os.close(descriptor)  # the last writer removed this file between our open and our lock: take the new one

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Nothing can take this lock from a living process."""

    def release(self) -> None:
        """Give the lock back. Removing the file before unlocking is safe: `_acquire` checks what it locked."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _holder(descriptor: int) -> WriterInfo:
    try:
        return WriterInfo(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError, OSError):  # it locked the file an instant ago and has not signed it yet
        return WriterInfo(0, "unknown", "this moment")


def this_writer() -> WriterInfo:
    """This process, from now on."""
    return WriterInfo(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))


def in_use(store: object, holder: WriterInfo, note: str = "") -> StoreError:
    """What a second writer is told; `note` is a further remedy."""
    remedy = f"wait for it, stop it, or name another --store{note}"
    return StoreError(explain(f"store {store}", expected="no other writer", got=str(holder), remedy=remedy))
