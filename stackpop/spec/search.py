"""A search: settings that are tried at values of its own choosing, one candidate a trial, instead of along a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from stackpop.settings import Settings
from stackpop.spec.sections import AXES, SECTIONS, split_name

TRIAL = "trial"  # the dim of a search, before those of the axes

Number = bool | int | float
Values = Mapping[str, Number]  # dotted setting -> what a trial gives it


def _is_of_a_learner(name: str) -> bool:
    section, key = split_name(name)
    return SECTIONS[section].chooser not in ("", key)


# A search is for settings of the learners: what defines the problem, or chooses a learner, makes returns that one
# number cannot rank.
SEARCHABLE = frozenset(filter(_is_of_a_learner, AXES))


class SearchSettings(Settings):
    """How to search.

    method: `random`, independent draws, or `tpe`, the tree-structured Parzen estimator (Bergstra et al., 2011).
    trials: number of candidates. at_once: candidates in training at a time, of `tpe`: trial k is chosen with the
    results of the trials up to k - at_once. seed: of the choices. objective: what is maximised, as the mean over all
    runs of a trial; window: and over that many last iterations.
    """

    method: Literal["random", "tpe"]
    trials: PositiveInt
    at_once: PositiveInt = 4
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    objective: Literal[
        "leader_return",
        "leader_return_greedy",
        "leader_return_sampled",
        "follower_return",
        "follower_return_greedy",
        "follower_return_sampled",
    ] = "leader_return_sampled"
    window: PositiveInt = 50


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are. With `log`, evenly by their logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[Number, ...]:
        """Values of which one is the largest."""
        return self.low, self.high

    def at(self, u: float) -> Number:
        """The value at a fraction 0 <= u < 1 of the range."""
        half = 0.5 if self.whole else 0.0  # so that the whole numbers at the ends come as often as their neighbours
        low, high = self.low - half, self.high + half
        if self.log:
            low, high = math.log(low), math.log(high)
        value = (1 - u) * low + u * high  # the difference itself can overflow
        return self.decode(min(max(math.exp(value) if self.log else value, self.low), self.high))

    def decode(self, number: float) -> Number:
        """A value that the store holds as a float."""
        return round(number) if self.whole else number

    def holds(self, value: Number) -> bool:
        """Whether a value of the setting is one of these."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    """A few numbers or truth values, without an order."""

    choices: tuple[Number, ...]

    @property
    def ends(self) -> tuple[Number, ...]:
        """Values of which one is the largest."""
        return self.choices

    def at(self, u: float) -> Number:
        """The value at a fraction 0 <= u < 1 of the list."""
        return self.choices[int(u * len(self.choices))]

    def decode(self, number: float) -> Number:
        """A value that the store holds as a float."""
        return self.choices[self.choices.index(number)]

    def holds(self, value: Number) -> bool:
        """Whether a value of the setting is one of these."""
        return value in self.choices


@dataclass(frozen=True)
class SearchSpec:
    """A validated search.

    space: dotted setting -> the values it may take. start: the first candidates, each with a value for every setting.
    """

    settings: SearchSettings
    space: Mapping[str, Range | Choices]
    start: tuple[Values, ...] = ()

    @property
    def trials(self) -> int:
        """Number of candidates."""
        return self.settings.trials

    @property
    def adaptive(self) -> bool:
        """Whether later candidates depend on the results of earlier ones."""
        return self.settings.method == "tpe"

    @property
    def at_once(self) -> int:
        """Candidates that can be in training at a time."""
        return self.settings.at_once if self.adaptive else self.trials

    def draw(self, trial: int) -> Values:
        """What a random search tries in a trial: a start, or else a function of the seed, the trial and the space."""
        if trial < len(self.start):
            return self.start[trial]
        bits = np.random.Philox(key=np.array([self.settings.seed, trial], dtype=np.uint64))
        fractions = (bits.random_raw(len(self.space)) >> np.uint64(11)) * 2.0**-53
        return {name: self.space[name].at(float(u)) for name, u in zip(sorted(self.space), fractions, strict=True)}

    def decode(self, stored: Mapping[str, float]) -> Values:
        """The values of a trial from the floats that the store keeps."""
        return {name: self.space[name].decode(number) for name, number in stored.items()}

    @cached_property
    def fixed(self) -> Mapping[str, Any]:
        """Dotted name -> value of all that a trial depends on, and so of all but the number of trials."""
        keys = self.as_yaml()
        space = keys.pop("space")
        del keys["trials"]
        return {f"search.{key}": value for key, value in keys.items()} | {
            f"search.space.{name}": values for name, values in space.items()
        }

    def as_yaml(self) -> dict[str, Any]:
        """The section of the sweep file, defaults written out."""
        unread = set() if self.adaptive else {"at_once"}
        return {
            **self.settings.model_dump(exclude=unread),
            "start": [dict(values) for values in self.start],
            "space": {name: _plain(domain) for name, domain in self.space.items()},
        }


def _plain(domain: Range | Choices) -> dict[str, Any]:
    if isinstance(domain, Choices):
        return {"choices": list(domain.choices)}
    return {"low": domain.low, "high": domain.high, "log": domain.log}
