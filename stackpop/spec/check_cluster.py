"""Checks of a cluster's settings, in a sweep file or in a file of their own.

The options of a library are checked by `stackpop.cluster`, when that cluster is used: here it need not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stackpop.errors import SpecError, did_you_mean
from stackpop.settings import Settings
from stackpop.spec.cluster import KINDS, SIZES, AdaptiveSettings, ClusterSpec, TLSFiles
from stackpop.spec.document import Document, read, text_of
from stackpop.spec.problems import Loc, expectation, remedy, shown

_PARTS: Mapping[str, type[Settings]] = {"adaptive": AdaptiveSettings, "tls": TLSFiles}
_EXAMPLE = "for instance {kind: slurm, jobs: 4}"


def load_cluster(source: str | os.PathLike[str]) -> ClusterSpec:
    """The cluster in a YAML file that holds what stands below `cluster:` in a sweep file.

    Raises:
        SpecError: the file cannot be read or is not valid; one line a problem, in the order of the file.
    """
    path = Path(source)
    text = text_of(path, "cluster file", "a file in YAML")
    document = read(text, str(path))
    found = checked_cluster(document, ())
    document.problems.raise_any()
    if found is None:  # unreachable, for what is wrong was noted
        raise SpecError(f"{path}: no cluster")
    return found


def checked_cluster(document: Document, loc: Loc) -> ClusterSpec | None:
    """The cluster at `loc`, () for the whole text; None if it is wrong."""
    value = document.value
    for key in loc:
        value = value[key]
    if not isinstance(value, dict) or not value:
        got = "an empty file" if not value and not loc else shown(value)
        document.refuse(loc, expected="a section of settings", got=got, remedy=_EXAMPLE)
        return None
    kind = value.get("kind", "local")
    if kind not in list(KINDS):  # a list: it may be something unhashable
        known = did_you_mean(str(kind), KINDS)
        document.refuse((*loc, "kind"), expected="a known kind of cluster", got=shown(kind), remedy=known)
        return None
    _check_size(document, loc, kind, value)
    try:
        settings = KINDS[kind].model_validate({"kind": kind, **value})
    except ValidationError as error:
        _refuse(document, loc, kind, value, error)
        return None
    return ClusterSpec(settings, _places(document, loc, value))


def _check_size(document: Document, loc: Loc, kind: str, value: Mapping[str, Any]) -> None:
    """A cluster has a fixed size or an adaptive one."""
    for key, model in SIZES.items():
        if KINDS[kind] is model and key in value and value.get("adaptive") is not None:
            advice = "remove one of the two"
            document.refuse((*loc, key), expected="none beside adaptive", got=shown(value[key]), remedy=advice)
    adaptive = value.get("adaptive")
    if not isinstance(adaptive, dict):
        return
    low, high = adaptive.get("minimum", 1), adaptive.get("maximum")
    if isinstance(low, int) and isinstance(high, int) and 0 < high < low:
        at = (*loc, "adaptive", "maximum")
        document.refuse(at, expected=f"at least the minimum, {low}", got=shown(high), remedy="raise it")


def _refuse(document: Document, loc: Loc, kind: str, value: Mapping[str, Any], error: ValidationError) -> None:
    """Note what pydantic found wrong; what is wrong with `tls` is told once, not once for each of its forms."""
    found = error.errors(include_url=False)
    for e in found:
        key = str(e["loc"][0])
        if key == "tls" and not isinstance(value["tls"], dict):
            forms = "auto, or a section with ca_file, cert and key" if _has_auto(kind) else "a section of files"
            advice = "leave it out for connections that are not encrypted"
            document.refuse((*loc, key), expected=forms, got=shown(value[key]), remedy=advice)
            continue
        part = _PARTS.get(key) if len(e["loc"]) > 1 else None
        if key == "tls" and (part is None or e["loc"][1] not in ("TLSFiles", *TLSFiles.model_fields, *value["tls"])):
            continue  # that it is not the word `auto` either
        inner = tuple(k for k in e["loc"] if k != "TLSFiles")
        at = (*loc, *inner)
        if e["type"] == "extra_forbidden":
            _refuse_unknown(document, at, kind, inner, part)
        else:
            model = part or KINDS[kind]
            advice = remedy({**e, "loc": inner[-1:]}, model)
            got = "nothing" if e["type"] == "missing" else shown(e["input"])
            document.refuse(at, expected=expectation(e), got=got, remedy=advice)


def _has_auto(kind: str) -> bool:
    return "auto" in str(KINDS[kind].model_fields["tls"].annotation)


def _refuse_unknown(document: Document, at: Loc, kind: str, inner: Loc, part: type[Settings] | None) -> None:
    key = str(inner[-1])
    readers = [other for other, model in KINDS.items() if key in model.model_fields] if part is None else []
    if readers:
        expected, got = f"a setting that kind {kind} reads", f"{key!r}, which kind {' and '.join(readers)} reads"
        advice = "remove it or change the kind"
    else:
        fields = (part or KINDS[kind]).model_fields
        expected, got, advice = "a setting of the cluster", repr(key), did_you_mean(key, fields)
        if "options" in fields:
            advice += " (the library's own go below `options:`)"
    document.refuse(at, expected=expected, got=got, remedy=advice, at_key=True)


def _places(document: Document, loc: Loc, value: Mapping[str, Any]) -> dict[str, str]:
    options = value.get("options", {})
    names = [(key,) for key in value] + [("options", key) for key in options]
    return {".".join(name): str(document.where((*loc, *name))) for name in names}
