"""From what a store says of a run, its settings and its labels, back to the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stackpop.errors import SpecError
from stackpop.games import MATRICES
from stackpop.spec.runs import RunSpec
from stackpop.spec.sections import AXES, SECTIONS, join_name

_AXIS_OF = {axis.replace(".", "_"): axis for axis in AXES}


def stored_run(settings: Mapping[str, Any], labels: Mapping[str, Any]) -> RunSpec:
    """The run at `labels` (dim -> value) of a sweep with these fixed `settings` (as in `SweepSpec.fixed`).

    Other than a sweep file, a store holds the settings of everything that was ever swept in it.

    Raises:
        SpecError: they do not make a run of this version of stackpop.
    """
    known = {**settings, **{_AXIS_OF.get(dim, dim): label for dim, label in labels.items()}}
    sections = {name: _section(name, known) for name in SECTIONS}
    matrix = known.get("matrix")
    payoffs = known.get(f"payoffs.{matrix}", MATRICES.get(str(matrix)))
    try:
        return RunSpec.model_validate({**sections.pop(""), **sections, "matrix": matrix, "payoffs": payoffs})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "run"
        raise SpecError(f"stored run {dict(labels)}: {where}: {first['msg']}; another version wrote it") from None


def _section(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one section, of which those of a swept kind carry it in their name: `leader[pg].lr`."""
    section = SECTIONS[name]
    kind = str(known.get(join_name(name, section.chooser), section.default)) if section.chooser else ""
    found = {}
    for key in section.kinds[kind].model_fields if kind in section.kinds else ():
        for stored in (join_name(name, key), f"{name}[{kind}].{key}"):
            if stored in known:
                found[key] = known[stored]
    return found
