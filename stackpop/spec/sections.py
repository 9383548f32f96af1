"""The sections of a sweep file, and the models that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from stackpop.settings import Settings
from stackpop.spec.runs import GameSettings, ProtocolSettings, RunSpec

Scalar = bool | int | float | str  # a value along an axis


@dataclass(frozen=True)
class Section:
    """A section: kind -> the model that reads it, and the setting that chooses the kind ("" if there is one kind)."""

    kinds: Mapping[str, type[Settings]]
    chooser: str = ""
    default: str = ""

    def model(self, settings: Mapping[str, object]) -> type[Settings]:
        """The model that reads settings, by the kind that they choose."""
        return self.kinds[str(settings.get(self.chooser, self.default))]

    def choice(self, kind: str) -> dict[str, str]:
        """The setting that chooses a kind."""
        return {self.chooser: kind} if self.chooser else {}

    def readers(self, key: str) -> list[str]:
        """The kinds that read a key."""
        return [kind for kind, model in self.kinds.items() if key in model.model_fields]


def _one_of(name: str) -> Section:
    """The section of a run's setting that is one of several models."""
    field = RunSpec.model_fields[name]
    chooser = str(field.discriminator)
    kinds = {model.model_fields[chooser].default: model for model in get_args(field.annotation)}
    return Section(kinds, chooser, getattr(field.default, chooser))


# By name, "" being the top level; a setting's dotted name is section.key.
SECTIONS: Mapping[str, Section] = {
    "game": Section({"": GameSettings}),
    "": Section({"": ProtocolSettings}),
    "leader": _one_of("leader"),
    "follower": _one_of("follower"),
}


def split_name(name: str) -> tuple[str, str]:
    """Section and key of a dotted name: "leader.lr" -> ("leader", "lr"), "seed" -> ("", "seed")."""
    section, dot, key = name.partition(".")
    return (section, key) if dot else ("", section)


def join_name(section: str, key: str) -> str:
    """The dotted name of a section's key."""
    return f"{section}.{key}" if section else key


# Every setting that can be an axis, whichever kinds read it.
AXES = frozenset(
    ["matrix"]
    + [join_name(name, key) for name, s in SECTIONS.items() for model in s.kinds.values() for key in model.model_fields]
)
