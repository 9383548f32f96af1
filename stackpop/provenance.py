"""Which code this is, wherever it is installed and whatever its version says."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

_LENGTH = 12


@cache
def source_hash() -> str:
    """The first 12 hex digits of a SHA-256 over this package's .py files, their paths and contents in sorted order.

    Two installations with the same hash run the same code. It is read once a process, so that files that are edited
    later do not change what a running process says of itself.
    """
    package = Path(__file__).resolve().parent
    digest = sha256()
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:_LENGTH]
