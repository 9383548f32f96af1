"""Checks of a sweep file's claims. Each returns what is valid, or None; the document notes the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from stackpop.errors import did_you_mean
from stackpop.spec.check_settings import mapping
from stackpop.spec.claims import BEST, CURVES, SINGLES, At, Claim, Quantity, Relation
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, shown
from stackpop.spec.search import TRIAL, SearchSpec
from stackpop.spec.sections import AXES, Scalar

Axes = Mapping[str, tuple[Scalar, ...]]

_KEYS = ("text", "left", "relation", "right", "where", "note")
_OWN = ("variable", "at")  # the keys of a side that are no axes
_RELATIONS: tuple[Relation, ...] = get_args(Relation)
_PLACES = ("end", "last", "first")


def checked_claims(document: Document, axes: Axes, search: SearchSpec | None) -> tuple[Claim, ...]:
    """The valid claims of a sweep with these axes and this search, None if it has none or a wrong one."""
    listed = document.value.get("claims", [])
    if not isinstance(listed, list):
        advice = "write each below `claims:`, with a dash before `text:`"
        document.refuse(("claims",), expected="a list of claims", got=shown(listed), remedy=advice)
        return ()
    if "search" in document.value:
        axes = {**axes, TRIAL: () if search is None else tuple(range(search.trials))}
    found = (_claim(document, ("claims", position), value, axes) for position, value in enumerate(listed))
    return tuple(claim for claim in found if claim is not None)


def _claim(document: Document, loc: Loc, value: object, axes: Axes) -> Claim | None:
    if not isinstance(value, dict):
        advice = f"give it the keys {', '.join(_KEYS[:4])}"
        document.refuse(loc, expected="a claim", got=shown(value), remedy=advice)
        return None
    _check_keys(document, loc, value, _KEYS)
    where = _where(document, (*loc, "where"), value.get("where", {}), axes)
    text = _text(document, (*loc, "text"), value.get("text"))
    left = _quantity(document, (*loc, "left"), value.get("left"), axes, where)
    relation = _relation(document, (*loc, "relation"), value.get("relation"))
    right = _right(document, (*loc, "right"), value.get("right"), axes, where)
    note = _text(document, (*loc, "note"), value["note"]) if "note" in value else ""
    if text is None or left is None or relation is None or right is None or note is None:
        return None
    return Claim(text, left, relation, right, where, note)


def _check_keys(document: Document, loc: Loc, value: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in value:
        if key not in known:
            advice = did_you_mean(key, known)
            document.refuse((*loc, key), expected="a key of a claim", got=repr(key), remedy=advice, at_key=True)


def _text(document: Document, loc: Loc, value: object) -> str | None:
    if isinstance(value, str) and value.strip():
        return value.strip()
    got = "nothing" if value == "" else shown(value)
    document.refuse(loc, expected="a sentence", got=got, remedy="write what the sweep should show, in quotes")
    return None


def _relation(document: Document, loc: Loc, value: object) -> Relation | None:
    for relation in _RELATIONS:
        if value == relation:
            return relation
    advice = did_you_mean(str(value or ""), _RELATIONS)
    document.refuse(loc, expected="a relation", got=shown(value), remedy=advice)
    return None


def _right(document: Document, loc: Loc, value: object, axes: Axes, where: Axes) -> Quantity | float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _quantity(document, loc, value, axes, where, "a variable or a number")
    if math.isfinite(value):
        return value
    document.refuse(loc, expected="a finite number", got=shown(value), remedy="for instance 0")
    return None


def _quantity(
    document: Document, loc: Loc, value: object, axes: Axes, where: Axes, expected: str = "a variable with selections"
) -> Quantity | None:
    if not isinstance(value, dict):
        document.refuse(loc, expected=expected, got=shown(value), remedy="for instance {variable: leader_return}")
        return None
    variable = value.get("variable")
    if not isinstance(variable, str) or variable not in (*CURVES, *SINGLES):
        advice = did_you_mean(str(variable or ""), (*CURVES, *SINGLES))
        at = (*loc, "variable")
        document.refuse(at, expected="a variable of one number a run or update", got=shown(variable), remedy=advice)
        return None
    at_update = _at(document, (*loc, "at"), value["at"], variable) if "at" in value else "end"
    chosen = {key: label for key, label in value.items() if key not in _OWN}
    labels: dict[str, Scalar] = {}
    for axis, raw in chosen.items():
        if axis in where:
            expected, advice = "an axis that `where` leaves open", "remove one of the two"
            document.refuse((*loc, axis), expected=expected, got=repr(axis), remedy=advice, at_key=True)
        elif axis == TRIAL and TRIAL in axes and raw == BEST:
            labels[axis] = BEST
        elif _is_axis(document, (*loc, axis), axis, _OWN, axes):
            labels.update((axis, label) for label in _label(document, (*loc, axis), axis, raw, axes))
    return Quantity(variable, at_update, labels)


def _at(document: Document, loc: Loc, value: object, variable: str) -> At:
    if variable in SINGLES:
        got = f"one for {variable}, which has no updates"
        document.refuse(loc, expected="no `at`", got=got, remedy="remove it", at_key=True)
    elif value not in _PLACES and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        expected = f"{', '.join(_PLACES)} or an update's number from 1"
        advice = "leave it out for the mean over the last updates"
        document.refuse(loc, expected=expected, got=shown(value), remedy=advice)
    return cast(At, value)


def _where(document: Document, loc: Loc, value: object, axes: Axes) -> Axes:
    """The labels that both sides share; one that stands alone counts as a list of one."""
    if not isinstance(value, dict):
        advice = "for instance {leader.lr: 0.008}"
        document.refuse(loc, expected="values by axis", got=shown(value), remedy=advice)
        return {}
    where: dict[str, tuple[Scalar, ...]] = {}
    for axis, given in value.items():
        at = (*loc, axis)
        if not _is_axis(document, at, axis, (), axes):
            continue
        each = {(*at, k): label for k, label in enumerate(given)} if isinstance(given, list) else {at: given}
        labels = [label for place, raw in each.items() for label in _label(document, place, axis, raw, axes)]
        if not each or len(set(labels)) < len(labels):
            got = "one of them twice" if each else "an empty list"
            document.refuse(at, expected="different values", got=got, remedy="list each once")
        where[axis] = tuple(labels)
    return where


def _is_axis(document: Document, loc: Loc, axis: str, others: Sequence[str], axes: Axes) -> bool:
    """Whether the sweep has an axis, be it a wrong one; `others` are the keys that could have been meant instead."""
    swept = {**axes, **mapping(document, "axes")}
    if axis in swept:
        return True
    if axis in AXES:
        advice = "list its values under `axes:`, or remove it: it is the same in all runs"
    else:
        advice = did_you_mean(axis, (*others, *swept))
    document.refuse(loc, expected="an axis of this sweep", got=repr(axis), remedy=advice, at_key=True)
    return False


def _label(document: Document, loc: Loc, axis: str, label: object, axes: Axes) -> Iterator[Scalar]:
    """The value of an axis that is meant, if there is one."""
    known = axes.get(axis, ())
    raw = mapping(document, "axes").get(axis, list(known))  # trials stand in no list
    same = [each for each in known if each == label and isinstance(each, bool) == isinstance(label, bool)]
    if same:
        yield same[0]
    elif known and isinstance(raw, list) and len(raw) == len(known):  # else it is the axis that is wrong, and reported
        advice = f"{did_you_mean(str(label), map(str, known))}; `--set claims=[]` leaves all claims out"
        document.refuse(loc, expected=f"a value of the axis {axis}", got=shown(label), remedy=advice)
