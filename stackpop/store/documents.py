"""The metadata of a store, and how it changes in one step.

Plain xarray reads the metadata of all arrays from one file: the root's zarr.json, with the consolidated metadata in
it. Replacing that file by a rename is the commit: before it a reader sees the old sizes, after it the new ones, and
never some of each. Array documents and new labels are in place by then; labels past the committed size do not show.
Labels are synced to the disk before it and the root after, so that a power cut leaves one of the two states, too;
the documents of single arrays are not, for the root repeats them all.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpop.errors import StoreError, explain
from stackpop.store.faults import storage_faults
from stackpop.store.layout import Document
from stackpop.store.schema import FOLLOWERS, SCHEMA_VERSION

_NAME = "zarr.json"
_OTHER = "name another --store"
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # some network file systems, for folders


def local_folder(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a store, one for all spellings, so that they share a lock.

    Raises:
        StoreError: an address like s3://bucket/name.
    """
    text = os.fspath(path)
    if "://" in text:
        remedy = "keep it in a local folder, and copy it from or to elsewhere"
        raise StoreError(explain("store", expected="a local folder", got=repr(text), remedy=remedy))
    return Path(text).resolve()


def read_root(path: Path) -> Document:
    """The root document of a stackpop store.

    Raises:
        StoreError: nothing there, not a folder, not Zarr, not ours, from a newer version, or unreadable.
    """
    field = f"store {path}"
    if not path.exists():
        raise StoreError(explain(field, expected="a store", got="nothing", remedy="check the path, or run the sweep"))
    if not path.is_dir():
        raise StoreError(explain(field, expected="a folder", got="a file", remedy=_OTHER))
    with storage_faults(path):
        try:
            document: Any = json.loads((path / _NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            got = "a folder without valid Zarr v3 metadata"
            raise StoreError(explain(field, expected="a Zarr store", got=got, remedy=_OTHER)) from None
    _check_ours(field, document)
    return dict(document)


def _check_ours(field: str, document: Any) -> None:
    attributes = document.get("attributes", {}) if isinstance(document, dict) else {}
    version = attributes.get("schema_version")
    if (
        not isinstance(version, int)
        or "stackpop_version" not in attributes
        or not document.get("consolidated_metadata")
    ):
        got = "a Zarr store that stackpop did not write"
        raise StoreError(explain(field, expected="a stackpop store", got=got, remedy=_OTHER))
    if version > SCHEMA_VERSION:
        raise StoreError(
            explain(
                f"{field}, schema_version",
                expected=f"at most {SCHEMA_VERSION}",
                got=version,
                remedy=f"it was written by stackpop {attributes['stackpop_version']}: upgrade stackpop, or {_OTHER}",
            )
        )


def array_nodes(root: Document) -> dict[str, Document]:
    """The committed document of every array, by its path in the store."""
    nodes: Mapping[str, Document] = root["consolidated_metadata"]["metadata"]
    return {name: node for name, node in nodes.items() if node["node_type"] == "array"}


def grow(stored: Mapping[str, Document], wanted: Mapping[str, Document]) -> dict[str, Document]:
    """Every stored array at least as large as wanted, with its chunks as they are, and the arrays that are new."""
    merged = dict(stored)
    for name, document in wanted.items():
        old = stored.get(name)
        if old is None:
            merged[name] = document
        else:
            shape = [max(sizes) for sizes in zip(old["shape"], document["shape"], strict=True)]
            merged[name] = {**old, "shape": shape, "attributes": document["attributes"]}
    return merged


def declare_arrays(folder: Path, arrays: Mapping[str, Document], stored: Mapping[str, Document]) -> None:
    """Write the documents that changed, and those of the groups if they are new. No reader sees this yet."""
    groups = {name.rpartition("/")[0] for name in arrays} - {""}
    for group in groups:
        if not (folder / group / _NAME).exists():
            _write(folder / group / _NAME, group_document({}, {}))
    for name, document in arrays.items():
        if stored.get(name) != document:
            _write(folder / name / _NAME, document)


def commit(folder: Path, arrays: Mapping[str, Document], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Make `arrays` what readers see. `attributes` are those of each group ("" is the root).

    The root comes first, for it alone decides; the followers' own document serves those who open that folder itself.
    """
    below = {name.partition("/")[2]: document for name, document in arrays.items() if name.startswith(f"{FOLLOWERS}/")}
    nodes = dict(arrays)
    if below:
        nodes[FOLLOWERS] = group_document(attributes[FOLLOWERS], {})
        sync(folder / FOLLOWERS)
    sync(folder)  # the folders of new arrays
    _write(folder / _NAME, group_document(attributes[""], nodes), durable=True)
    if below:
        _write(folder / FOLLOWERS / _NAME, group_document(attributes[FOLLOWERS], below))


def group_document(attributes: Mapping[str, Any], nodes: Mapping[str, Document]) -> Document:
    """A group with the metadata of everything below it, laid out as zarr-python reads it."""
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(nodes.items()))}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": inline,
    }


def _write(path: Path, document: Document, *, durable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{_NAME}.partial")  # only the holder of the store's lock writes, so one name will do
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, allow_nan=False)
    if durable:
        sync(fresh)  # or a power cut could leave the new name with nothing in it
    os.replace(fresh, path)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """`sync` for a folder and everything in it."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def remove_leftovers(folder: Path) -> None:
    """Delete the half-written files of a writer that was killed."""
    for leftover in folder.rglob("*.partial"):
        leftover.unlink()
