"""From a sweep file to a validated SweepSpec, or to one clear line for each thing that is wrong with it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stackpop.devices import DEVICES, Device
from stackpop.errors import SpecError, did_you_mean, explain
from stackpop.games import Game
from stackpop.spec.check_axes import axis_values, raw_axes
from stackpop.spec.check_claims import checked_claims
from stackpop.spec.check_cluster import checked_cluster
from stackpop.spec.check_conflicts import check_conflicts
from stackpop.spec.check_games import check_tables, played_games
from stackpop.spec.check_search import checked_search, raw_space
from stackpop.spec.check_settings import given_settings, resolved_settings, used_kinds
from stackpop.spec.document import Document, read, text_of
from stackpop.spec.problems import Mark, shown
from stackpop.spec.runs import TRAINED_ORACLES, WORD
from stackpop.spec.sections import AXES, SECTIONS, split_name
from stackpop.spec.sweep import SweepSpec

Overrides = Mapping[str, object] | Sequence[str]

_OWN = ("name", "description", "device", "segment", "payoffs", "axes", "claims", "search", "cluster")
_KEYS = {*_OWN, *(axis.partition(".")[0] for axis in AXES)}


def load_sweep(source: str | os.PathLike[str], overrides: Overrides = ()) -> SweepSpec:
    """The sweep in a YAML file.

    source: path of the file; its stem is the sweep's name unless the file gives one.
    overrides: texts `key=value`, or a mapping of keys to values, a text being YAML that is validated like the
        file's. A key is the dotted name of a setting, or `axes.` and the dotted name of an axis.

    Raises:
        SpecError: the file cannot be read or is not valid; one line a problem, in the order of the file.
    """
    path = Path(source)
    text = text_of(path, "file", "a sweep file in YAML")
    return parse_sweep(text, path.stem, overrides, source=str(path))


def parse_sweep(text: str, name: str, overrides: Overrides = (), *, source: str = "sweep") -> SweepSpec:
    """The sweep in YAML text; `name` is its name unless the text gives one, `source` names the text in messages.

    Raises:
        SpecError: the text or an override is not valid; one line a problem, in the order of the text.
    """
    document = read(text, source)
    if not isinstance(document.value, dict) or not document.value:
        got = "an empty file" if document.value in (None, {}) else shown(document.value)
        advice = "start with for instance `matrix: prisoners_dilemma`"
        document.refuse((), expected="a mapping of settings", got=got, remedy=advice)
        document.problems.raise_any()
    for key, value in _pairs(overrides):
        _override(document, key, value)
    sweep = _sweep(document, name)
    document.problems.raise_any()
    return sweep


def _pairs(overrides: Overrides) -> Iterator[tuple[str, str]]:
    if isinstance(overrides, Mapping):
        yield from ((key, value if isinstance(value, str) else json.dumps(value)) for key, value in overrides.items())
        return
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            line = explain("override", expected="key=value", got=repr(override), remedy="for instance seed=2")
            raise SpecError(line)
        yield key, value


def _override(document: Document, key: str, text: str) -> None:
    """Put an override into the document; an overriding axis takes the place of the setting of its name."""
    source = f"override {key}={text}"
    section, setting = split_name(key)
    loc = (section, setting) if section else (setting,)
    axes = document.value.get("axes")
    if isinstance(axes, dict) and key in axes:
        advice = f"use axes.{key}=[...]"
        document.problems.add(Mark(source), loc, expected="a setting", got="an axis", remedy=advice)
        return
    if section == "axes":
        fixed_section, fixed_key = split_name(setting)
        fixed = document.value.get(fixed_section) if fixed_section else document.value
        if isinstance(fixed, dict):
            fixed.pop(fixed_key, None)
    document.replace(loc, read(text, source))


def _sweep(document: Document, default_name: str) -> SweepSpec:
    """The sweep as far as the document is valid."""
    _check_keys(document)
    raw = raw_axes(document)
    space = raw_space(document, raw)
    varied = {**raw, **space}
    given = {name: given_settings(document, name) for name in SECTIONS}
    kinds = {name: used_kinds(document, name, given[name], raw) for name in SECTIONS}
    settings = {name: resolved_settings(document, name, given[name], kinds[name], varied) for name in SECTIONS}
    axes = {axis: axis_values(document, axis, values, kinds) for axis, values in raw.items()}
    games = played_games(document, raw)
    memories = axes.get("game.memory") or [settings["game"].get("memory", Game.memory)]
    rounds = max(map(int, axes.get("game.rounds") or [settings["game"].get("rounds", Game.rounds)]))
    networks = axes.get("follower.network") or [settings["follower"].get("network")]
    if kinds["follower"] != list(TRAINED_ORACLES) or set(networks) != {"mlp"}:
        check_tables(document, games, raw, memories, rounds)
    if "matrix" not in axes:
        settings[""]["matrix"] = document.value.get("matrix")
    search = checked_search(document, space, kinds)
    claims = checked_claims(document, axes, search)
    cluster = checked_cluster(document, ("cluster",)) if "cluster" in document.value else None
    name, description = _name(document, default_name), _description(document)
    device, segment = _device(document), _segment(document)
    sweep = SweepSpec(name, description, axes, games, settings, claims, search, cluster, device, segment)
    if not document.problems:
        check_conflicts(document, sweep)
    return sweep


def _check_keys(document: Document) -> None:
    for key in document.value:
        if key not in _KEYS:
            advice = did_you_mean(key, _KEYS)
            document.refuse((key,), expected="a key of a sweep", got=repr(key), remedy=advice, at_key=True)


def _name(document: Document, default: str) -> str:
    name = document.value.get("name", default)
    if isinstance(name, str) and re.fullmatch(WORD, name):
        return name
    advice = "set `name` to such a word"
    document.refuse(("name",), expected="a word of letters, digits and . _ -", got=shown(name), remedy=advice)
    return ""


def _device(document: Document) -> Device:
    given = document.value.get("device", "cpu")
    for device in DEVICES:
        if given == device:
            return device
    advice = "cuda is a GPU, and auto is one wherever there is one"
    document.refuse(("device",), expected="cpu, cuda or auto", got=shown(given), remedy=advice)
    return "cpu"


def _segment(document: Document) -> int | None:
    given = document.value.get("segment")
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    advice = "leave it out to train every leader in one piece"
    document.refuse(("segment",), expected="leader updates, 1 or more", got=shown(given), remedy=advice)
    return None


def _description(document: Document) -> str:
    description = document.value.get("description", "")
    if isinstance(description, str):
        return description.strip()
    document.refuse(("description",), expected="text", got=shown(description), remedy="put it in quotes")
    return ""
