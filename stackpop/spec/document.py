"""YAML text as plain values that remember their line and column, and plain values as YAML text.

Only YAML 1.2's plain scalars, lists and mappings are read: `1e-3` is a number, `no` is a word, and a tag or an
alias is an error, so a text can neither name a type to build nor grow when it is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from stackpop.errors import SpecError, explain
from stackpop.spec.problems import Loc, Mark, Problems, shown

_TAG = "tag:yaml.org,2002:"


def text_of(path: Path, field: str, expected: str) -> str:
    """The text of a file.

    field, expected: what the file is and should be, for the message.

    Raises:
        SpecError: the file cannot be read.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or no path at all
        got = str(getattr(error, "strerror", None) or "binary data").lower()
        line = explain(field, expected=expected, got=got, remedy="check the path")
        raise SpecError(f"{path}: {line}") from error


@dataclass
class Document:
    """The plain value of a YAML text, where each of its parts stands, and what was found wrong with it."""

    value: Any
    problems: Problems
    _values: dict[Loc, Mark]
    _keys: dict[Loc, Mark]

    def where(self, loc: Loc) -> Mark:
        """The place of a value, or of the nearest enclosing one that the text has."""
        while loc not in self._values:
            loc = loc[:-1]
        return self._values[loc]

    def refuse(self, loc: Loc, *, expected: str, got: str, remedy: str, at_key: bool = False) -> None:
        """Note a problem with the value at `loc`, or with the key that names it."""
        mark = self._keys.get(loc) if at_key else None
        self.problems.add(mark or self.where(loc), loc, expected=expected, got=got, remedy=remedy)

    def replace(self, loc: Loc, part: Document) -> None:
        """Put another text's value in place of the one at `loc`; its place becomes that text as a whole."""
        place = Mark(part.where(()).source)
        parent = self.value
        for depth, key in enumerate(loc[:-1], start=1):
            if key not in parent:
                parent[key] = {}
                self._keys[loc[:depth]] = self._values[loc[:depth]] = place
            parent = parent[key]
            if not isinstance(parent, dict):  # wrong anyhow, and reported as what it is
                return
        parent[loc[-1]] = part.value
        self.problems.extend(part.problems)
        self._values = {at: mark for at, mark in self._values.items() if at[: len(loc)] != loc}
        self._values[loc] = self._keys[loc] = place


def read(text: str, source: str) -> Document:
    """Read one YAML text; `source` names it in messages.

    Raises:
        SpecError: the text is not YAML. Lesser problems (a duplicate key, a tag, an alias) go to the document's.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        raise SpecError(f"{_mark(source, error.problem_mark)}: {_syntax(error.problem)}") from error
    except (YAMLError, RecursionError) as error:
        raise SpecError(f"{source}: {_syntax(str(error) or 'too deep a nesting')}") from error
    reader = _Reader(source, yaml)
    value = None if root is None else reader.read(root, ())
    return Document(value, reader.problems, {(): Mark(source, 1, 1), **reader.values}, reader.keys)


def dump(value: object) -> str:
    """YAML text of plain values, short lists and sections on one line; `read` gives the same values back."""
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.allow_unicode = False  # escaped, so that no character is taken for a line break
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


def _mark(source: str, mark: StreamMark | None) -> Mark:
    return Mark(source) if mark is None else Mark(source, mark.line + 1, mark.column + 1)


def _syntax(problem: str | None) -> str:
    got = " ".join((problem or "something else").split())
    return explain("syntax", expected="valid YAML", got=got, remedy="check the indentation, brackets and quotes there")


class _Reader:
    """Turns composed nodes into plain values, noting the place of each value and key."""

    def __init__(self, source: str, yaml: YAML) -> None:
        self.problems = Problems()
        self.values: dict[Loc, Mark] = {}
        self.keys: dict[Loc, Mark] = {}
        self._source = source
        self._seen: set[int] = set()
        self._scalars: dict[str, Callable[[ScalarNode], object]] = {
            f"{_TAG}str": lambda node: node.value,
            f"{_TAG}null": lambda _: None,
            f"{_TAG}bool": yaml.constructor.construct_yaml_bool,
            f"{_TAG}int": yaml.constructor.construct_yaml_int,
            f"{_TAG}float": yaml.constructor.construct_yaml_float,
        }

    def read(self, node: Node, loc: Loc) -> object:
        """The plain value of a node; None in place of one that is refused."""
        self.values[loc] = _mark(self._source, node.start_mark)
        if id(node) in self._seen:
            self._refuse(node, loc, "a value written out", "an alias (*)", "repeat the value itself")
            return None
        self._seen.add(id(node))
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, loc)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.read(child, (*loc, i)) for i, child in enumerate(node.value)]
        return self._scalar(node, loc)

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                self._refuse(key_node, loc, "words as keys", shown(key), "put the key in quotes if it is meant as text")
            elif key in content:
                first = self.keys[*loc, key].line
                where = f"the key {key!r} a second time (first in line {first})"
                self._refuse(key_node, (*loc, key), "each key once", where, "remove one of the two")
            else:
                self.keys[*loc, key] = _mark(self._source, key_node.start_mark)
                content[key] = self.read(value_node, (*loc, key))
        return content

    def _scalar(self, node: Node, loc: Loc) -> object:
        tag = str(node.tag)
        if isinstance(node, ScalarNode) and tag in self._scalars:
            try:
                return self._scalars[tag](node)
            except ValueError:  # not of its tag, as in `!!int x`, or too long a number
                pass
        got = f"a value tagged {tag.removeprefix(_TAG)!r}"
        self._refuse(node, loc, "a plain value", got, "put it in quotes if it is meant as text")
        return None

    def _refuse(self, node: Node, loc: Loc, expected: str, got: str, remedy: str) -> None:
        mark = _mark(self._source, node.start_mark)
        self.problems.add(mark, loc, expected=expected, got=got, remedy=remedy)
