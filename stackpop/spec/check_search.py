"""Checks of a sweep file's search. Each returns what is valid; the document notes the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from stackpop.errors import did_you_mean
from stackpop.spec.check_axes import is_given, refuse_name, refuse_twice, setting_value
from stackpop.spec.check_settings import RawAxes, mapping
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, expectation, remedy, shown
from stackpop.spec.search import SEARCHABLE, Choices, Number, Range, SearchSettings, SearchSpec, Values

RawSpace = Mapping[str, Any]  # setting -> its range as it stands in the file
Kinds = Mapping[str, Sequence[str]]  # section -> the kinds of it that the sweep uses

_EXAMPLE = "for instance `leader.lr: {low: 1.0e-5, high: 1.0, log: true}`"


def raw_space(document: Document, axes: RawAxes) -> dict[str, Any]:
    """The searched settings: those that can be, and are neither given as a setting nor an axis."""
    space = mapping(document, "search").get("space", {})
    if not isinstance(space, dict):
        document.refuse(("search", "space"), expected="settings to search", got=shown(space), remedy=_EXAMPLE)
        return {}
    return {name: raw for name, raw in space.items() if _is_searchable(document, name, axes)}


def _is_searchable(document: Document, name: str, axes: RawAxes) -> bool:
    loc = ("search", "space", name)
    if name not in SEARCHABLE:
        expected = "a number or truth value among the settings of the leader or the follower"
        refuse_name(document, loc, name, expected=expected, known=SEARCHABLE)
    elif name in axes or is_given(document, name):
        other = f"axes.{name}" if name in axes else name
        refuse_twice(document, loc, other, expected="a setting, an axis, or a search")
    else:
        return True
    return False


def checked_search(document: Document, raw: RawSpace, kinds: Kinds) -> SearchSpec | None:
    """The search of a sweep file, None if it has none or a wrong one; `raw` are its searched settings."""
    if not isinstance(document.value.get("search"), dict):  # refused already if it is something else
        return None
    section = mapping(document, "search")
    settings = _settings(document, section)
    domains = {name: _domain(document, name, value, kinds) for name, value in raw.items()}
    space = {name: domain for name, domain in domains.items() if domain is not None}
    if not section.get("space"):
        document.refuse(("search", "space"), expected="settings to search", got="nothing", remedy=_EXAMPLE)
    if settings is None or not space or len(space) < len(section["space"]):
        return None
    return SearchSpec(settings, space, _start(document, section.get("start", []), space, settings.trials, kinds))


def _settings(document: Document, section: Mapping[str, Any]) -> SearchSettings | None:
    given = {key: value for key, value in section.items() if key not in ("space", "start")}
    if given.get("method") == "random" and "at_once" in given:
        advice = "remove it or change search.method"
        got = "'at_once', which method tpe reads"
        document.refuse(("search", "at_once"), expected="a key that method random reads", got=got, remedy=advice)
    try:
        return SearchSettings.model_validate(given)
    except ValidationError as error:
        for e in error.errors(include_url=False):
            loc: Loc = ("search", *e["loc"])
            if e["type"] == "extra_forbidden":
                advice = did_you_mean(str(e["loc"][0]), {*SearchSettings.model_fields, "space", "start"})
                got = repr(e["loc"][0])
                document.refuse(loc, expected="a key of a search", got=got, remedy=advice, at_key=True)
            else:
                got = "nothing" if e["type"] == "missing" else shown(e["input"])
                document.refuse(loc, expected=expectation(e), got=got, remedy=remedy(e, SearchSettings))
    return None


def _domain(document: Document, name: str, raw: object, kinds: Kinds) -> Range | Choices | None:
    """What a searched setting may be."""
    loc = ("search", "space", name)
    keys = set(raw) if isinstance(raw, dict) else set()
    if isinstance(raw, dict) and {"low", "high"} <= keys <= {"low", "high", "log"}:
        return _range(document, name, raw, kinds)
    if isinstance(raw, dict) and keys == {"choices"}:
        return _choices(document, name, raw["choices"], kinds)
    got = f"the keys {', '.join(sorted(keys))}" if keys else shown(raw)
    expected = "the keys low, high and perhaps log, or the key choices"
    document.refuse(loc, expected=expected, got=got, remedy=_EXAMPLE)
    return None


def _range(document: Document, name: str, raw: Mapping[str, Any], kinds: Kinds) -> Range | None:
    loc = ("search", "space", name)
    low, high = (_number(document, name, (*loc, key), raw[key], kinds) for key in ("low", "high"))
    log = raw.get("log", False)
    if not isinstance(log, bool):
        document.refuse((*loc, "log"), expected="true or false", got=shown(log), remedy="the default is false")
    elif low is None or high is None:
        pass  # refused already
    elif isinstance(low, bool) or isinstance(high, bool):
        advice = "list them, {choices: [false, true]}"
        document.refuse(loc, expected="numbers", got="truth values", remedy=advice)
    elif low >= high:
        got = f"low {shown(low)} and high {shown(high)}"
        document.refuse((*loc, "low"), expected="low below high", got=got, remedy="swap or change them")
    elif log and low <= 0:
        advice = "raise low, or leave log out"
        document.refuse((*loc, "low"), expected="a low above 0 with log", got=shown(low), remedy=advice)
    else:
        return Range(low, high, log)
    return None


def _choices(document: Document, name: str, raw: object, kinds: Kinds) -> Choices | None:
    loc = ("search", "space", name, "choices")
    if not isinstance(raw, list) or not raw:
        document.refuse(loc, expected="a list of values", got=shown(raw), remedy="for instance [10, 30]")
        return None
    values: dict[Number, None] = {}
    for position, one in enumerate(raw):
        value = _number(document, name, (*loc, position), one, kinds)
        if value in values:
            got = f"{shown(value)} a second time"
            document.refuse((*loc, position), expected="each value once", got=got, remedy="remove it")
        elif value is not None:
            values[value] = None
    return Choices(tuple(values)) if len(values) == len(raw) else None


def _number(document: Document, name: str, loc: Loc, raw: object, kinds: Kinds) -> Number | None:
    """A value as the setting it becomes, None if it cannot become one or is none that a search can try."""
    if not isinstance(raw, bool | int | float):
        advice = "give a number, or true or false; a setting that is a word or null needs an axis or a sweep of its own"
        document.refuse(loc, expected="a number", got=shown(raw), remedy=advice)
        return None
    value = setting_value(document, name, loc, raw, kinds, named_at=("search", "space", name))
    return None if isinstance(value, str) else value


def _start(
    document: Document, raw: object, space: Mapping[str, Range | Choices], trials: int, kinds: Kinds
) -> tuple[Values, ...]:
    """The candidates to begin with."""
    if not isinstance(raw, list):
        advice = "for instance [{leader.lr: 0.008}]"
        document.refuse(("search", "start"), expected="a list of candidates", got=shown(raw), remedy=advice)
        return ()
    if len(raw) > trials:
        advice = "raise search.trials or shorten the list"
        expected, got = f"at most {trials} candidates, as search.trials", str(len(raw))
        document.refuse(("search", "start"), expected=expected, got=got, remedy=advice)
    return tuple(_candidate(document, position, one, space, kinds) for position, one in enumerate(raw))


def _candidate(
    document: Document, position: int, raw: object, space: Mapping[str, Range | Choices], kinds: Kinds
) -> Values:
    loc: Loc = ("search", "start", position)
    if not isinstance(raw, dict) or raw.keys() != space.keys():
        got = f"values of {', '.join(raw) or 'none'}" if isinstance(raw, dict) else shown(raw)
        advice = f"name each once, for instance {{{', '.join(f'{name}: ...' for name in space)}}}"
        document.refuse(loc, expected=f"values of {', '.join(space)}", got=got, remedy=advice)
        return {}
    values = {}
    for name, domain in space.items():
        value = _number(document, name, (*loc, name), raw[name], kinds)
        if value is not None and not domain.holds(value):
            advice = f"change it or search.space.{name}"
            expected = "a value of its search.space"
            document.refuse((*loc, name), expected=expected, got=shown(value), remedy=advice)
        elif value is not None:
            values[name] = value
    return values
