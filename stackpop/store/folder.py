"""A store in a folder of a file system: contents are replaced by renames, and synced where a power cut would hurt."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stackpop.store.faults import storage_faults
from stackpop.store.location import Location, WriterInfo
from stackpop.store.lock import StoreLock, writer_of

_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # some network file systems, for folders


@dataclass(frozen=True)
class Folder(Location):
    """The folder at an absolute path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def faults(self) -> AbstractContextManager[None]:
        """See `Location`."""
        return storage_faults(self.path)

    def zarr(self, *, writing: bool = False) -> Path:  # noqa: ARG002 Zarr asks for a mode as well
        """See `Location`."""
        return self.path

    def kind(self) -> Literal["nothing", "a file", "a folder"]:
        """See `Location`."""
        if self.path.is_dir():
            return "a folder"
        return "a file" if self.path.exists() else "nothing"

    def holds_nothing(self) -> bool:
        """See `Location`."""
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    def read(self, key: str) -> bytes | None:
        """See `Location`."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has(self, key: str) -> bool:
        """See `Location`."""
        return (self.path / key).exists()

    def write(self, contents: Mapping[str, bytes], *, durable: bool = False) -> None:
        """See `Location`."""
        for key, content in contents.items():
            _replace(self.path / key, content, durable=durable)

    def keys(self, folder: str) -> list[str]:
        """See `Location`."""
        try:
            return [f"{folder}/{path.name}" for path in sorted((self.path / folder).iterdir())]
        except FileNotFoundError:
            return []

    def remove(self, key: str) -> None:
        """See `Location`; a folder goes with the last content in it."""
        path = self.path / key
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()

    def sync(self, key: str) -> None:
        """See `Location`."""
        _sync(self.path / key)

    def sync_tree(self, key: str) -> None:
        """See `Location`."""
        for path in (*(self.path / key).rglob("*"), self.path / key):
            _sync(path)

    def lock(self) -> StoreLock:
        """See `Location`."""
        with self.faults():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return StoreLock(self.path)

    def writer(self) -> WriterInfo | None:
        """See `Location`."""
        return writer_of(self.path)

    @contextmanager
    def making(self) -> Iterator[Location]:
        """See `Location`: it is built aside and renamed."""
        building = Folder(self.path.with_name(f".{self.path.name}.new"))
        shutil.rmtree(building.path, ignore_errors=True)  # of a writer that was killed, for we hold the lock
        try:
            yield building
            os.replace(building.path, self.path)
            _sync(self.path.parent)
        except BaseException:
            shutil.rmtree(building.path, ignore_errors=True)
            raise

    def remove_leftovers(self) -> None:
        """See `Location`."""
        for leftover in self.path.rglob("*.partial"):
            leftover.unlink()

    def each(self, actions: Iterable[Callable[[], None]]) -> None:
        """See `Location`."""
        for action in actions:
            action()

    def beside(self, suffix: str) -> Path:
        """See `Location`."""
        return self.path.with_name(self.path.name + suffix)


def _replace(path: Path, content: bytes, *, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.partial")  # only the holder of the store's lock writes, so one name will do
    fresh.write_bytes(content)
    if durable:
        _sync(fresh)  # or a power cut could leave the new name with nothing in it
    os.replace(fresh, path)
    if durable:
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)
