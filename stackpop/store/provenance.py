"""Where results come from: the sweep's text, the versions of what computed them, and the code itself."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from stackpop.errors import StoreError
from stackpop.provenance import source_hash
from stackpop.store.layout import Sweep
from stackpop.store.location import Location
from stackpop.store.schema import FOLLOWERS, SCHEMA_VERSION

_PACKAGES = ("stackpop", "numpy", "torch", "dask", "zarr", "xarray")
_ABSENT = "nothing"
_IMPLIED = {"device": "cpu"}  # settings that are left out where they have these values


def group_attributes(spec: Sweep, stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The attributes of each group: the last writer's, but for the time of creation; `opened_at` is when it began."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    common = {
        "name": spec.name,
        "spec": spec.text,
        "settings": json.dumps({**json.loads(stored.get("settings", "{}")), **spec.fixed}, sort_keys=True),
        "schema_version": SCHEMA_VERSION,
        "created_at": stored.get("created_at", now),
        "opened_at": now,
        **_identity(stored),
        "Conventions": "CF-1.11",
        "python_version": platform.python_version(),
        **{f"{package}_version": _version(package) for package in _PACKAGES},
        "machine": _machine(),
        "source_hash": source_hash(),
        **({"git_revision": revision} if (revision := _git_revision()) else {}),
    }
    return {
        "": {"title": f"Leader runs of the sweep {spec.name}", **common},
        FOLLOWERS: {"title": f"Follower trainings of the sweep {spec.name}", **common},
    }


def _identity(stored: Mapping[str, Any]) -> dict[str, str]:
    """What no other store has, kept for ever; a store that was made before there was one goes without."""
    if not stored:
        return {"store_id": uuid4().hex}
    return {"store_id": stored["store_id"]} if "store_id" in stored else {}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree without an installation
        return "unknown"


def _machine() -> str:
    """The machine of the writer: its system, processor and cores. Other processors may round otherwise."""
    try:
        described = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        described = ""
    models = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    model = (models or [platform.processor()])[0]
    return ", ".join(filter(None, (f"{platform.system()} {platform.machine()}", model, f"{os.cpu_count()} cores")))


def _git_revision() -> str:
    """The revision of the source tree this package lies in, or "" if it lies in none of its own."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 fixed words
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return ""
    return answer.stdout.strip()


def check_comparable(
    place: Location, spec: Sweep, attributes: Mapping[str, Any], stored_dims: Mapping[str, tuple[str, ...]]
) -> None:
    """Refuse to mix runs that cannot be compared.

    Args:
        place: the store, for the message.
        spec: the sweep that is to be recorded.
        attributes: those of the stored root group.
        stored_dims: the swept dims of each stored group ("" is the root).

    Raises:
        StoreError: other axes or other fixed settings; every difference is listed.
    """
    wanted_dims = {"": spec.dims, FOLLOWERS: spec.follower_dims}
    found = [
        f"the axes of the {group or 'leaders'} were {list(stored_dims[group])}, are now {list(dims)}"
        for group, dims in wanted_dims.items()
        if group in stored_dims and stored_dims[group] != tuple(dims)
    ]
    old = {**_IMPLIED, **json.loads(attributes["settings"])}
    new = {**_IMPLIED, **json.loads(json.dumps(dict(spec.fixed)))}
    for key in sorted(old.keys() | new.keys()):
        before, after = (json.dumps(side[key], sort_keys=True) if key in side else _ABSENT for side in (old, new))
        if before != after and not (_ABSENT in (before, after) and _belongs_to_a_label(key)):
            found.append(f"{key} was {before}, is now {after}")
    if found:
        remedy = "change it back, or name another --store"
        if not all(line.startswith("search.") for line in found):
            remedy += ", or make it an axis (in a new store)"
        raise StoreError(f"store {place}: holds runs of other settings: {'; '.join(found)}; {remedy}")


def _belongs_to_a_label(key: str) -> bool:
    """Whether a setting concerns some labels of an axis only, so that it comes and goes with them.

    These are the payoffs of a game that the sweep defines, and the settings of one kind of learner, `leader[pg].lr`.
    """
    return key.startswith("payoffs.") or "[" in key
