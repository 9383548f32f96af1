"""Checks of a sweep file's settings. Each returns what is valid; the document notes the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from stackpop.errors import did_you_mean
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, expectation, remedy, shown
from stackpop.spec.sections import SECTIONS, join_name

RawAxes = Mapping[str, Sequence[Any]]  # axis -> values as they stand in the file


def mapping(document: Document, key: str) -> dict[str, Any]:
    """A mapping at the top level; an empty one if the key is missing or not a mapping."""
    value = document.value.get(key, {})
    if isinstance(value, dict):
        return value
    remedy = "write `key: value` lines below it, or leave it out"
    document.refuse((key,), expected="a section of settings", got=shown(value), remedy=remedy)
    return {}


def given_settings(document: Document, name: str) -> dict[str, Any]:
    """What the file gives of a section's settings."""
    if name:
        return mapping(document, name)
    return {key: document.value[key] for key in SECTIONS[""].kinds[""].model_fields if key in document.value}


def used_kinds(document: Document, name: str, given: Mapping[str, Any], axes: RawAxes) -> list[str]:
    """The kinds of a section that the sweep uses: those along an axis, the given one, or the default."""
    section = SECTIONS[name]
    axis = join_name(name, section.chooser)
    chosen: dict[Loc, Any]
    if axis in axes:
        chosen = {("axes", axis, position): kind for position, kind in enumerate(axes[axis])}
    else:
        chosen = {(name, section.chooser): given.get(section.chooser, section.default)}
    for loc, kind in chosen.items():
        if kind not in list(section.kinds):  # a list: the kind may be something unhashable
            known = did_you_mean(str(kind), section.kinds)
            document.refuse(loc, expected=f"a known {section.chooser}", got=shown(kind), remedy=known)
    return [kind for kind in chosen.values() if kind in list(section.kinds)]


def resolved_settings(
    document: Document, name: str, given: Mapping[str, Any], kinds: Sequence[str], axes: RawAxes
) -> dict[str, Any]:
    """A section's settings that are no axes; defaults are filled in unless an axis chooses the section's kind."""
    section = SECTIONS[name]
    swept = join_name(name, section.chooser) in axes
    result: dict[str, Any] = {}
    for kind in kinds:
        values = _validated(document, name, given, kind)
        result |= {
            key: value
            for key, value in values.items()
            if join_name(name, key) not in axes and (key in given or not swept)
        }
    return result


def _validated(document: Document, name: str, given: Mapping[str, Any], kind: str) -> dict[str, Any]:
    section = SECTIONS[name]
    try:
        return section.kinds[kind].model_validate({**given, **section.choice(kind)}).model_dump()
    except ValidationError as error:
        refuse_invalid(document, error, (name,) if name else (), name, kind)
    return {}


def refuse_invalid(document: Document, error: ValidationError, loc: Loc, name: str, kind: str) -> None:
    """Note what pydantic found wrong with the settings, at `loc`, of a section's kind."""
    found = error.errors(include_url=False)
    # A list of which no item is valid counts as too short as well: only what is inside of it is told.
    places = {e["loc"][:-1] for e in found if len(e["loc"]) > 1}
    for e in (e for e in found if e["loc"] not in places):
        at = (*loc, *e["loc"])
        if e["type"] == "extra_forbidden":
            refuse_unread(document, at, name, str(e["loc"][0]), kind)
        else:
            advice = remedy(e, SECTIONS[name].kinds[kind])
            document.refuse(at, expected=expectation(e), got=shown(e["input"]), remedy=advice)


def refuse_unread(document: Document, loc: Loc, name: str, key: str, kind: str) -> None:
    """Note a key, named at `loc`, that a section's kind does not read."""
    section = SECTIONS[name]
    if readers := section.readers(key):
        expected = f"a setting that {section.chooser} {kind} reads"
        got = f"{key!r}, which {section.chooser} {' and '.join(readers)} reads"
        advice = f"remove it or change {name}.{section.chooser}"
    else:
        expected, got = f"a setting of {name}", repr(key)
        advice = did_you_mean(key, section.kinds[kind].model_fields)
    document.refuse(loc, expected=expected, got=got, remedy=advice, at_key=True)
