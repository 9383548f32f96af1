"""A store as objects below a URL, by obstore: `s3://bucket/name.zarr`, and alike on Google's and Azure's storage.

A write of an object is durable once it is acknowledged, and replaces the object in one step. There is no rename, so a
new store is made in place: an object beside it, `name.zarr.new`, says that what is there is not a store yet, until
the root document, whose coming is the commit. Credentials are read from the environment, by obstore alone.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

import zarr.storage

from stackpop.errors import StoreError, explain
from stackpop.store.lease import Conflict, Lease, holder
from stackpop.store.location import Location, WriterInfo

try:
    import obstore
    from obstore import exceptions
    from obstore.store import AzureStore, GCSStore, S3Store
except ModuleNotFoundError as error:
    if error.name != "obstore":
        raise
    remedy = "install the extra: pip install 'stackpop[cloud]'"
    line = explain("store at a URL", expected="the package obstore", got="none", remedy=remedy)
    raise StoreError(line) from None

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ClientConfig, RetryConfig
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

Client = S3Store | GCSStore | AzureStore

_ROOT = "zarr.json"
_AT_ONCE = 8  # requests
_VERSIONS = 4096  # of contents, remembered
# One request, with all its retries, takes at most 30 s: less than the lease goes on after a writer stops.
_REQUEST = timedelta(seconds=15)
_CONNECT = timedelta(seconds=5)
_RETRY: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(seconds=15)}
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "gs": (), "az": ("AZURE_ENDPOINT",)}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_REFUSALS = ("AccessKey", "AccessDenied", "Signature", "Token", "Auth", "401", "403")
# Where nothing is in the environment, the machine itself is asked for a role, at this address.
_NO_LOGIN = r"169\.254\.169\.254|metadata\.google|Missing|must be specified"
_LOGINS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, AWS_REGION)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


class Bucket(Location):
    """The objects of a bucket below a prefix."""

    def __init__(self, scheme: str, bucket: str, key: str) -> None:
        self._scheme, self._bucket, self._key = scheme, bucket, key
        with self.faults():
            self._inside = _client(scheme, bucket, key)
            self._around = _client(scheme, bucket, None)
        self._fenced = Fenced(self._inside, self._problem)

    def __str__(self) -> str:
        return f"{self._scheme}://{self._bucket}/{self._key}"

    @contextmanager
    def faults(self) -> Iterator[None]:
        """See `Location`."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            raise self._problem(error) from None  # the original's many lines hold names of keys

    def zarr(self, *, writing: bool = False) -> Fenced:
        """See `Location`."""
        return self._fenced if writing else self._fenced.with_read_only(True)

    def kind(self) -> Literal["nothing", "objects"]:
        """See `Location`."""
        return "nothing" if self.holds_nothing() else "objects"

    def holds_nothing(self) -> bool:
        """See `Location`."""
        if self.has(_ROOT):
            return False
        with self.faults():
            return not next(iter(obstore.list(self._inside)), ()) or _has(self._around, self._marker)

    def read(self, key: str) -> bytes | None:
        """See `Location`."""
        with self.faults():
            try:
                return bytes(obstore.get(self._inside, key).bytes())
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None

    def has(self, key: str) -> bool:
        """See `Location`."""
        with self.faults():
            return _has(self._inside, key)

    def write(self, contents: Mapping[str, bytes], *, durable: bool = False) -> None:  # noqa: ARG002 always is
        """See `Location`."""

        def put(item: tuple[str, bytes]) -> None:
            obstore.put(self._inside, *item, use_multipart=False)

        with self.faults(), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(put, contents.items()))

    def keys(self, folder: str) -> list[str]:
        """See `Location`."""
        with self.faults():
            return sorted(found["path"] for batch in obstore.list(self._inside, folder) for found in batch)

    def remove(self, key: str) -> None:
        """See `Location`."""
        with self.faults(), suppress(FileNotFoundError):
            obstore.delete(self._inside, key)

    def sync(self, key: str) -> None:
        """What is acknowledged is durable."""

    def sync_tree(self, key: str) -> None:
        """What is acknowledged is durable."""

    def lock(self) -> Lease:
        """See `Location`."""
        return Lease(str(self), _LeaseObject(self, self._around, f"{self._key}.lock"))

    def writer(self) -> WriterInfo | None:
        """See `Location`."""
        return holder(_LeaseObject(self, self._around, f"{self._key}.lock"))

    @property
    def _marker(self) -> str:
        return f"{self._key}.new"

    @contextmanager
    def making(self) -> Iterator[Location]:
        """See `Location`."""
        with self.faults():
            obstore.put(self._around, self._marker, b"a store is being made\n")
            try:
                yield self
            except BaseException:
                with suppress(exceptions.BaseError, OSError):  # else the marker stays, and the next one goes on
                    self._clear()
                raise
            obstore.delete(self._around, self._marker)

    def _clear(self) -> None:
        """Delete what a failed making left; there was nothing else."""
        for batch in obstore.list(self._inside):
            obstore.delete(self._inside, [found["path"] for found in batch])
        obstore.delete(self._around, self._marker)

    def remove_leftovers(self) -> None:
        """See `Location`: a writer that was killed leaves no half contents, but perhaps the marker of a whole store."""
        with self.faults(), suppress(FileNotFoundError):
            obstore.delete(self._around, self._marker)

    def each(self, actions: Iterable[Callable[[], None]]) -> None:
        """See `Location`."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda action: action(), actions))

    def beside(self, suffix: str) -> Path:
        """See `Location`."""
        return Path("results", self._key.rpartition("/")[2] + suffix).resolve()

    def _check_bucket(self, error: FileNotFoundError) -> None:
        if any(code in str(error) for code in _NO_BUCKET):
            raise error

    def _problem(self, error: Exception) -> StoreError:
        """What the storage refused, as one line; the answers of servers repeat keys, so only their codes show."""
        store = f"store {self}"
        text = str(error).partition("Debug source")[0]
        code = _found(r"<Code>(\w+)</Code>", text) or _found(r"status code: (\d+ [\w ]+)", text)
        if code in _NO_BUCKET:
            remedy = "make it, or check its name, the region and the endpoint"
            return StoreError(explain(store, expected=f"a bucket {self._bucket!r}", got="none", remedy=remedy))
        no_login = re.search(_NO_LOGIN, text)
        if no_login or _refused(error, code):
            expected = f"credentials that {self._bucket!r} accepts, in the environment"
            got = "none" if no_login else f"'{code}'"
            remedy = f"check {_LOGINS[self._scheme]}, and what they may do there"
            return StoreError(explain(store, expected=expected, got=got, remedy=remedy))
        if not code:
            got = "none in time" if "timed out" in text or "timeout" in text.rpartition("retry_timeout")[2] else "none"
            found = _endpoint(self._scheme)
            server = f" from {found[1].scheme}://{found[1].netloc} ({found[0]})" if found else ""
            remedy = "check the address, the network and the server; what was recorded is safe"
            return StoreError(explain(store, expected=f"an answer{server}", got=got, remedy=remedy))
        remedy = "check the region and the endpoint, and run again; what was recorded is safe"
        return StoreError(explain(store, expected="working storage", got=f"'{code}'", remedy=remedy))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else ""


def _refused(error: Exception, code: str) -> bool:
    kinds = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    return isinstance(error, kinds) or any(word in code for word in _REFUSALS)


def _endpoint(scheme: str) -> tuple[str, SplitResult] | None:
    """The variable that names a server, and the server; None for the provider's own.

    Raises:
        StoreError: it is no address, or has a login in it, which obstore does not survive.
    """
    for name in _ENDPOINTS[scheme]:
        if text := os.environ.get(name):
            parts = urlsplit(text)
            with suppress(ValueError):
                if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0:
                    return name, parts
            got = "one with a login" if "@" in text else repr(text)
            remedy = "for instance https://s3.example.org"
            raise StoreError(explain(name, expected="the address of a server", got=got, remedy=remedy))
    return None


def _client(scheme: str, bucket: str, prefix: str | None) -> Client:
    found = _endpoint(scheme)
    plain = found is not None and found[1].scheme == "http"
    options: ClientConfig = {"allow_http": plain, "connect_timeout": _CONNECT, "timeout": _REQUEST}
    kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    client: Client = kinds[scheme](bucket, prefix=prefix, client_options=options, retry_config=_RETRY)
    return client


def _has(client: Client, key: str) -> bool:
    try:
        obstore.head(client, key)
    except FileNotFoundError:
        return False
    return True


def _version(meta: Mapping[str, Any]) -> UpdateVersion:
    found: UpdateVersion = {}  # None is no value to obstore
    if e_tag := meta.get("e_tag"):
        found["e_tag"] = e_tag
    if version := meta.get("version"):
        found["version"] = version
    return found


class Fenced(zarr.storage.ObjectStore[Any]):
    """Zarr's way to the objects, which replaces a content only if it is the one that this process met last.

    So a write of a former writer that comes late can overwrite nothing that its successor wrote, nor the other way
    round. (Deleting knows no conditions; the version is compared an instant before.) Writes of one key follow each
    other, also if whoever waits for them was interrupted.
    """

    def __init__(self, store: Client, problem: Callable[[Exception], StoreError], *, read_only: bool = False) -> None:
        super().__init__(store, read_only=read_only)
        self._problem = problem
        self._versions: OrderedDict[str, UpdateVersion | None] = OrderedDict()  # None: there was nothing
        self._turns: dict[str, asyncio.Lock] = {}

    def with_read_only(self, read_only: bool = False) -> Fenced:
        """The same objects, with a memory of its own."""
        return type(self)(self.store, self._problem, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Zarr's `get`, which takes note of the version."""
        if byte_range is not None or self.read_only:
            try:
                return await super().get(key, prototype, byte_range)
            except exceptions.BaseError as error:
                raise self._problem(error) from None
        async with self._turn(key):
            try:
                answer = await obstore.get_async(self.store, key)
                content = bytes(await answer.bytes_async())
            except FileNotFoundError:
                self._met(key, None)
                return None
            except exceptions.BaseError as error:
                raise self._problem(error) from None
            self._met(key, _version(answer.meta))
        return prototype.buffer.from_bytes(content)

    async def set(self, key: str, value: Buffer) -> None:
        """Zarr's `set`; raises StoreError if another process wrote that content meanwhile."""
        self._check_writable()
        content = value.to_bytes()
        async with self._turn(key):
            mode: PutMode = "overwrite" if key not in self._versions else self._versions[key] or "create"
            try:
                answer = await obstore.put_async(self.store, key, content, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                await self._settle(key, content)
            except (exceptions.BaseError, OSError) as error:
                self._versions.pop(key, None)  # it may have been carried out
                raise self._problem(error) from None
            else:
                self._note(key, _version(answer))

    async def delete(self, key: str) -> None:
        """Zarr's `delete`, of a content that has become empty; raises StoreError as `set` does."""
        self._check_writable()
        async with self._turn(key):
            if self._versions.get(key, key) is None:
                return  # it is not there
            try:
                self._met(key, _version(await obstore.head_async(self.store, key)))
                await super().delete(key)
            except FileNotFoundError:
                self._met(key, None)
            except exceptions.BaseError as error:
                raise self._problem(error) from None
            self._note(key, None)

    async def _settle(self, key: str, content: bytes) -> None:
        """A write was refused: perhaps it had been carried out, and only the answer was lost."""
        try:
            answer = await obstore.get_async(self.store, key)
            found = bytes(await answer.bytes_async())
        except (exceptions.BaseError, OSError) as error:
            raise self._problem(error) from None
        if found != content:
            raise self._changed(key)
        self._note(key, _version(answer.meta))

    def _met(self, key: str, version: UpdateVersion | None) -> None:
        """A content was read; what is known of it cannot have changed without another writer."""
        if self._versions.get(key, version) != version:
            raise self._changed(key)
        self._note(key, version)

    def _changed(self, key: str) -> StoreError:
        remedy = "what was recorded is safe; run the same command again when no other writes"
        return StoreError(explain(f"store, {key}", expected="one writer", got="changes by another", remedy=remedy))

    def _note(self, key: str, version: UpdateVersion | None) -> None:
        self._versions[key] = version
        self._versions.move_to_end(key)
        while len(self._versions) > _VERSIONS:
            forgotten, _ = self._versions.popitem(last=False)
            if (turn := self._turns.get(forgotten)) and not turn.locked():
                del self._turns[forgotten]

    def _turn(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())


class _LeaseObject:
    """See `LeaseObject`: one object beside a store."""

    def __init__(self, bucket: Bucket, client: Client, key: str) -> None:
        self._bucket, self._client, self._key = bucket, client, key

    def put(self, content: bytes, version: UpdateVersion | None) -> UpdateVersion:
        with self._bucket.faults():
            try:
                return _version(obstore.put(self._client, self._key, content, mode=version or "create"))
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise Conflict from None

    def get(self) -> tuple[bytes, UpdateVersion, datetime] | None:
        with self._bucket.faults():
            try:
                answer = obstore.get(self._client, self._key)
                return bytes(answer.bytes()), _version(answer.meta), answer.meta["last_modified"]
            except FileNotFoundError:
                return None

    def now(self) -> datetime:
        probe = f"{self._key}.{uuid4().hex}"
        with self._bucket.faults():
            obstore.put(self._client, probe, b"what time is it\n")
            stamped = obstore.head(self._client, probe)["last_modified"]
            obstore.delete(self._client, probe)
        return stamped

    def delete(self) -> None:
        with self._bucket.faults(), suppress(FileNotFoundError):
            obstore.delete(self._client, self._key)
