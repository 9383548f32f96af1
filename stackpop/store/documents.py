"""The metadata of a store, and how it changes in one step.

Plain xarray reads the metadata of all arrays from one file: the root's zarr.json, with the consolidated metadata in
it. Replacing that file in one step is the commit: before it a reader sees the old sizes, after it the new ones, and
never some of each. Array documents and new labels are in place by then; labels past the committed size do not show.
Labels are synced to the disk before it and the root after, so that a power cut leaves one of the two states, too;
the documents of single arrays are not, for the root repeats them all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stackpop.errors import StoreError, explain
from stackpop.store.layout import Document
from stackpop.store.location import Location
from stackpop.store.schema import FOLLOWERS, SCHEMA_VERSION

_NAME = "zarr.json"
_OTHER = "name another --store"


def read_root(place: Location) -> Document:
    """The root document of a stackpop store.

    Raises:
        StoreError: nothing there, not a folder, not Zarr, not ours, from a newer version, or unreadable.
    """
    field = f"store {place}"
    with place.faults():
        try:
            document: Any = json.loads(place.read(_NAME) or b"")
        except ValueError:
            raise _no_zarr(field, place.kind()) from None
    _check_ours(field, document)
    return dict(document)


def _no_zarr(field: str, kind: str) -> StoreError:
    if kind == "nothing":
        return StoreError(explain(field, expected="a store", got=kind, remedy="check the path, or run the sweep"))
    if kind == "a file":
        return StoreError(explain(field, expected="a folder", got=kind, remedy=_OTHER))
    return StoreError(
        explain(field, expected="a Zarr store", got=f"{kind} without valid Zarr v3 metadata", remedy=_OTHER)
    )


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


def declare_arrays(place: Location, arrays: Mapping[str, Document], stored: Mapping[str, Document]) -> None:
    """Write the documents that changed, and those of the groups if they are new. No reader sees this yet."""
    groups = {name.rpartition("/")[0] for name in arrays} - {""}
    fresh = {group: group_document({}, {}) for group in groups if not place.has(f"{group}/{_NAME}")}
    changed = {name: document for name, document in arrays.items() if stored.get(name) != document}
    place.write({f"{name}/{_NAME}": _encoded(document) for name, document in (fresh | changed).items()})


def commit(place: Location, arrays: Mapping[str, Document], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Make `arrays` what readers see. `attributes` are those of each group ("" is the root).

    The root comes first, for it alone decides; the followers' own document serves those who open that folder itself.
    """
    below = {name.partition("/")[2]: document for name, document in arrays.items() if name.startswith(f"{FOLLOWERS}/")}
    nodes = dict(arrays)
    if below:
        nodes[FOLLOWERS] = group_document(attributes[FOLLOWERS], {})
        place.sync(FOLLOWERS)
    place.sync("")  # the folders of new arrays
    place.write({_NAME: _encoded(group_document(attributes[""], nodes))}, durable=True)
    if below:
        place.write({f"{FOLLOWERS}/{_NAME}": _encoded(group_document(attributes[FOLLOWERS], below))})


def group_document(attributes: Mapping[str, Any], nodes: Mapping[str, Document]) -> Document:
    """A group with the metadata of everything below it, laid out as zarr-python reads it."""
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(nodes.items()))}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": inline,
    }


def _encoded(document: Document) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode()
