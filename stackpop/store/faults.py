"""What an operating system can refuse, as one line with a remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stackpop.errors import StoreError, explain

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}


@contextmanager
def storage_faults(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into a StoreError about the store at `path`."""
    try:
        yield
    except OSError as error:
        raise StoreError(_describe(path, error)) from error


def _describe(path: Path, error: OSError) -> str:
    store = f"store {path}"
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        remedy = "free some space and run the same command again: nothing recorded before was lost"
        return explain(store, expected="room on the disk", got=f"'{reason}'", remedy=remedy)
    if error.errno in _FORBIDDEN:
        remedy = "make the folder writable, or name another one with --store"
        return explain(store, expected="a folder to write to", got=f"'{reason}'", remedy=remedy)
    if error.errno in _NOT_A_FOLDER:
        culprit = error.filename or path
        remedy = "move that file away, or name another folder with --store"
        return explain(store, expected="a folder", got=f"a file at {culprit}", remedy=remedy)
    return explain(store, expected="working storage", got=f"'{error}'", remedy="check the disk and run again")
