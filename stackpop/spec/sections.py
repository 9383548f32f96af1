"""The sections of a sweep file, and the models that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args, get_origin

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


def _holds_list(annotation: object) -> bool:
    """Whether a setting of this type can be a list."""
    return get_origin(annotation) is tuple or any(map(_holds_list, get_args(annotation)))


def _names(*, lists: bool) -> frozenset[str]:
    """The dotted names of all settings, whichever kinds read them, that can be a list, or that cannot."""
    fields = ((name, model.model_fields) for name, section in SECTIONS.items() for model in section.kinds.values())
    return frozenset(
        join_name(name, key)
        for name, settings in fields
        for key, field in settings.items()
        if _holds_list(field.annotation) == lists
    )


# Every setting that can be an axis, and every one that cannot, for its values are lists.
AXES = _names(lists=False) | {"matrix"}
LISTS = _names(lists=True)
