"""Everything wrong with a text, collected: one line a problem, each with the place it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails

from stackpop.errors import SpecError, did_you_mean, explain
from stackpop.settings import Settings

Loc = tuple[str | int, ...]  # the keys and positions that lead to a value, for instance ("axes", "seed", 2)


class Mark(NamedTuple):
    """A place in a text; line and column count from 1, line 0 means the text as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """As editors and compilers write it."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problems:
    """Collects problems, so that a user sees all of them at once; the first about a field at a place stands."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Mark, Loc], str] = {}

    def add(self, mark: Mark, loc: Loc, *, expected: str, got: str, remedy: str) -> None:
        """Note that something was expected at a location, and came otherwise, at a place."""
        line = explain(dotted(loc) or "file", expected=expected, got=got, remedy=remedy)
        self._lines.setdefault((mark, loc), f"{mark}: {line}")

    def extend(self, other: Problems) -> None:
        """Note what `other` has."""
        self._lines |= other._lines

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._lines)

    def raise_any(self) -> None:
        """Raises SpecError with one line a problem, in the order of the text, if there is any."""
        if self._lines:
            raise SpecError("\n".join(line for _, line in sorted(self._lines.items(), key=lambda item: item[0][0])))


def dotted(loc: Iterable[str | int]) -> str:
    """A location as a user writes it: ("axes", "seed", 2) -> "axes.seed[2]"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def shown(value: object) -> str:
    """A value as a short piece of one line."""
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    words = {None: "nothing", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# pydantic's error type -> what was expected, filled in from the error's own context.
_EXPECTED = {
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_type": "a whole number",
    "less_than": "a number below {lt}",
    "literal_error": "{expected}",
    "missing": "a value",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "a word of letters, digits and . _ -",
    "string_type": "a word",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
    "value_error": "payoffs of a game ({error})",
}


def expectation(error: ErrorDetails) -> str:
    """What pydantic expected where it found an error, in plain words."""
    return _EXPECTED.get(error["type"], error["msg"].lower()).format(**error.get("ctx", {}))


def remedy(error: ErrorDetails, model: type[Settings]) -> str:
    """What to do about an error that pydantic found in a value of `model`."""
    value, kind = error["input"], error["type"]
    if isinstance(value, list) and kind != "too_short":
        return "to sweep a setting, list its values under `axes:`"
    if kind in ("float_type", "int_type") and isinstance(value, str) and _is_number(value):
        return "write the number without quotes"
    if kind == "literal_error" and isinstance(value, str):
        return did_you_mean(value, re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    field = model.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    default: Any = None if field is None else field.default
    if isinstance(default, bool | int | float | str):
        return f"the default is {shown(default) if isinstance(default, bool) else default}"
    return "leave it out for the default" if field is not None and not field.is_required() else "give one"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
