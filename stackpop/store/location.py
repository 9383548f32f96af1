"""Where a store is: a folder of a file system, or the objects below a URL, `s3://bucket/name.zarr`.

The rest of the package asks a `Location` and never looks which of the two it is. Keys are paths inside the store,
such as `followers/zarr.json`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import unquote, urlsplit

from stackpop.errors import StoreError, explain

if TYPE_CHECKING:
    from zarr.abc.store import Store

OBJECT_SCHEMES = ("s3", "gs", "az")


@dataclass(frozen=True)
class WriterInfo:
    """Who holds the lock of a store."""

    pid: int
    host: str
    since: str  # ISO 8601, UTC

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class Lock(Protocol):
    """The exclusive right to write to one store, held from its making to `release`.

    `found_left_behind` tells that the last writer did not release it: it was killed.
    """

    found_left_behind: bool

    def check(self) -> None:
        """Raises StoreError if the right was lost meanwhile; call it before writing."""

    def release(self) -> None:
        """Give the right back; after a loss, nothing happens."""


class Location(ABC):
    """One place for one store; `str` of it is what messages say, and holds no credentials.

    Several threads and processes may read; only the holder of `lock` writes. A content is written in one step: a
    reader meets the old one or the new one, and a kill leaves one of the two. Methods raise StoreError where the
    storage refuses, those of a folder OSError inside `faults`.
    """

    @abstractmethod
    def faults(self) -> AbstractContextManager[None]:
        """Turns what the storage raises inside into a StoreError about this store."""

    @abstractmethod
    def zarr(self, *, writing: bool = False) -> Path | Store:
        """What Zarr and xarray open."""

    @abstractmethod
    def kind(self) -> Literal["nothing", "a file", "a folder", "objects"]:
        """What is there, a whole store or not; a store that is being made counts as nothing."""

    @abstractmethod
    def holds_nothing(self) -> bool:
        """Whether a store may be made here: nothing is there, or an empty folder, or half of a store of ours."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """A content, or None if there is none."""

    @abstractmethod
    def has(self, key: str) -> bool:
        """Whether there is a content."""

    @abstractmethod
    def write(self, contents: Mapping[str, bytes], *, durable: bool = False) -> None:
        """Write contents by their keys; `durable` ones are on the disk at the end."""

    @abstractmethod
    def keys(self, folder: str) -> list[str]:
        """The keys of what is directly in a folder of the store; none if there is no folder."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a content, if there is one."""

    @abstractmethod
    def sync(self, key: str) -> None:
        """Wait until the names in a folder of the store are on the disk."""

    @abstractmethod
    def sync_tree(self, key: str) -> None:
        """Wait until a folder of the store and everything in it are on the disk."""

    @abstractmethod
    def lock(self) -> Lock:
        """Take the right to write; raises StoreError if another writer has it."""

    @abstractmethod
    def writer(self) -> WriterInfo | None:
        """Who is writing now, or None. A lock that a killed writer left behind counts as none."""

    @abstractmethod
    def making(self) -> AbstractContextManager[Location]:
        """Where to write a new store, which shows here once the context ends, whole or not at all."""

    @abstractmethod
    def remove_leftovers(self) -> None:
        """Delete the half-written contents of a writer that was killed."""

    @abstractmethod
    def each(self, actions: Iterable[Callable[[], None]]) -> None:
        """Carry out actions that write different arrays, at once where waiting is most of it."""

    @abstractmethod
    def beside(self, suffix: str) -> Path:
        """A local path for what belongs to the store and may not be in it."""


def locate(store: str | os.PathLike[str]) -> Location:
    """The location that a path or URL names, one for all spellings, so that they share a lock.

    Raises:
        StoreError: a URL of a scheme that cannot be used, with a login in it, or without a name; or the package for
            object stores is missing.
    """
    text = os.fspath(store)
    scheme, mark, _ = text.partition("://")
    if not mark or not scheme.isalnum():  # a folder may have any other name
        return _folder(text)
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        remedy = "leave keys and passwords to the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise StoreError(explain("store", expected="a URL without a login or a query", got="one with", remedy=remedy))
    if parts.scheme == "file" and not parts.netloc:
        return _folder(unquote(parts.path))
    if parts.scheme not in OBJECT_SCHEMES:
        expected = f"a path, or a URL with {', '.join(f'{name}://' for name in OBJECT_SCHEMES)} or file:///"
        raise StoreError(explain("store", expected=expected, got=repr(text), remedy="name another --store"))
    _, _, name = text.partition("://")
    bucket, *keys = name.rstrip("/").split("/")
    if not bucket or not keys or not all(keys) or {".", ".."} & set(keys) or "#" in name:
        expected = f"{parts.scheme}://bucket/name.zarr"
        raise StoreError(explain("store", expected=expected, got=repr(text), remedy="name a store in a bucket"))
    from stackpop.store.objects import Bucket

    return Bucket(parts.scheme, bucket, "/".join(keys))


def _folder(path: str) -> Location:
    from stackpop.store.folder import Folder

    return Folder(Path(path).resolve())


def store_exists(store: str | os.PathLike[str]) -> bool:
    """Whether anything is at a path or URL; raises StoreError if that cannot be told."""
    place = locate(store)
    with place.faults():
        return place.kind() != "nothing"


def beside(store: str | os.PathLike[str], suffix: str) -> Path:
    """A local path for what belongs to a store and may not be in it: next to a folder; for a URL, in `results`."""
    return locate(store).beside(suffix)
