"""Checks of a sweep file's axes. Each returns what is valid; the document notes the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from stackpop.errors import did_you_mean
from stackpop.spec.check_settings import RawAxes, mapping, refuse_unread
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, dotted, expectation, remedy, shown
from stackpop.spec.sections import AXES, LISTS, SECTIONS, Scalar, split_name


def raw_axes(document: Document) -> RawAxes:
    """The axes that name a setting, are not also given as a setting, and list at least one value."""
    axes = mapping(document, "axes")
    return {axis: values for axis, values in axes.items() if _is_axis(document, axis, values)}


def _is_axis(document: Document, axis: str, values: object) -> bool:
    loc = ("axes", axis)
    if axis in (*filter(None, SECTIONS), "payoffs"):
        first = next((name for name in sorted(AXES) if name.startswith(f"{axis}.")), "matrix")
        got = f"the whole section {axis!r}"
        advice = f"name a setting, for instance `{first}: [...]`"
        document.refuse(loc, expected="one setting", got=got, remedy=advice, at_key=True)
    elif axis not in AXES:
        refuse_name(document, loc, axis, expected="a setting of one value", known=AXES)
    elif not isinstance(values, list) or not values:
        advice = "list at least one value, for instance [1, 2]"
        document.refuse(loc, expected="a list of values", got=shown(values), remedy=advice)
    elif is_given(document, axis):
        refuse_twice(document, loc, axis, expected="either a setting or an axis")
    else:
        return True
    return False


def refuse_name(document: Document, loc: Loc, name: str, *, expected: str, known: frozenset[str]) -> None:
    """Note a name, at `loc`, that is none of the `known` settings to vary."""
    if name in LISTS:
        got, advice = f"{name!r}, which is a list", "give each list a sweep of its own"
    else:
        got, advice = repr(name), "make it an axis" if name in AXES else did_you_mean(name, known)
    document.refuse(loc, expected=expected, got=got, remedy=advice, at_key=True)


def refuse_twice(document: Document, loc: Loc, other: str, *, expected: str) -> None:
    """Note that what stands at `loc` is also given as `other`."""
    got = f"both {other!r} and {dotted(loc)!r}"
    document.refuse(loc, expected=expected, got=got, remedy="remove one of the two", at_key=True)


def is_given(document: Document, name: str) -> bool:
    """Whether the file gives a setting outright."""
    section, key = split_name(name)
    values = document.value.get(section) if section else document.value
    return isinstance(values, dict) and key in values


def axis_values(
    document: Document, axis: str, values: Sequence[Any], kinds: Mapping[str, Sequence[str]]
) -> tuple[Scalar, ...]:
    """An axis's values as the settings they become, each validated and no two alike.

    kinds: the kinds of each section that the sweep uses; each of them must read the axis.
    """
    checked: dict[Scalar, None] = {}
    for position, raw in enumerate(values):
        loc = ("axes", axis, position)
        if not isinstance(raw, bool | int | float | str):
            advice = "list numbers, words, or true and false"
            if raw is None:
                advice += "; a setting that is null needs a sweep of its own"
            document.refuse(loc, expected="one value", got=shown(raw), remedy=advice)
            continue
        value = raw if axis == "matrix" else setting_value(document, axis, loc, raw, kinds, named_at=("axes", axis))
        if value in checked:
            document.refuse(loc, expected="each value once", got=f"{shown(value)} a second time", remedy="remove it")
        elif value is not None:
            checked[value] = None
    return tuple(checked)


def setting_value(
    document: Document, setting: str, loc: Loc, raw: Scalar, kinds: Mapping[str, Sequence[str]], *, named_at: Loc
) -> Scalar | None:
    """One value, at `loc`, as the setting it becomes, None if it cannot become one; `named_at` names the setting."""
    name, key = split_name(setting)
    section = SECTIONS[name]
    if key == section.chooser:
        return raw  # the choice itself is checked where the kinds are
    value: Scalar | None = None
    for kind in kinds[name]:
        model = section.kinds[kind]
        if key not in model.model_fields:
            refuse_unread(document, named_at, name, key, kind)
            return None
        try:
            value = getattr(model.model_validate({key: raw, **section.choice(kind)}), key)
        except ValidationError as error:
            e = error.errors(include_url=False)[0]
            document.refuse(loc, expected=expectation(e), got=shown(raw), remedy=remedy(e, model))
            return None
    return value
