"""What a sweep was made to show, as statements that its results can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stackpop.spec.sections import Scalar

# What a claim can be about: the store's variables of one number a run, by whether they run along the updates. Nothing
# here may import the store, so a test holds these names against its schema.
CURVES = (
    "leader_return",
    "follower_return",
    "leader_return_greedy",
    "follower_return_greedy",
    "leader_return_sampled",
    "follower_return_sampled",
    "equilibrium_gap",
    "follower_regret",
    "entropy",
    "env_steps",
    "post_leader_return",
    "post_follower_return",
    "post_leader_return_greedy",
    "post_leader_return_sampled",
    "post_follower_regret",
)
SINGLES = (
    "converged",  # derived: see `stackpop.analysis.converged`
    "steps_to_equilibrium",  # derived: see `stackpop.analysis.steps_to_equilibrium`
    "wall_seconds",
    "attempts",
    "equilibrium_pure",
    "equilibrium_resample",
    "equilibrium_behavioural",
    "leader_return_min",
    "leader_return_max",
)

BEST = "best"  # the label of the trial of a search that is judged on other seeds than it was chosen by

At = int | Literal["end", "last", "first"]
Relation = Literal["greater", "less", "equal", "at_least", "at_most"]

_SIGNS: Mapping[Relation, str] = {"greater": ">", "less": "<", "equal": "=", "at_least": "≥", "at_most": "≤"}


def _brackets(where: Mapping[str, Scalar]) -> str:
    return f" [{', '.join(f'{axis}={label}' for axis, label in where.items())}]" if where else ""


@dataclass(frozen=True)
class Quantity:
    """One side of a claim: a variable of the runs with certain labels.

    at: where along its updates: their `end` (the mean of the last 50), the `last`, the `first`, or one by its number.
    where: dotted axis -> label; in a search also `trial` -> its number, or `best`: for each seed the trial that did
    best on all the others, since one chosen and judged on the same seeds would look better than it is.
    """

    variable: str
    at: At = "end"
    where: Mapping[str, Scalar] = field(default_factory=dict)

    def __str__(self) -> str:
        """For instance `leader_return at last [seed=1]`."""
        at = "" if self.at == "end" else f" at {self.at}"
        return f"{self.variable}{at}{_brackets(self.where)}"

    def plain(self) -> dict[str, Any]:
        """As it stands in a sweep file."""
        at = {} if self.at == "end" else {"at": self.at}
        return {"variable": self.variable, **at, **self.where}


@dataclass(frozen=True)
class Claim:
    """A statement about a sweep: left minus right, paired over all that both have in common, has a certain sign.

    relation: `greater` and `less` leave no doubt at 95 %, `at_least` and `at_most` the same with equality allowed,
    and `equal` means every single pair. where: dotted axis -> the labels of both sides. note: what there is to say
    about the outcome.
    """

    text: str
    left: Quantity
    relation: Relation
    right: Quantity | float
    where: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def test(self) -> str:
        """What is tested, in one line."""
        where = _brackets({axis: " or ".join(map(str, labels)) for axis, labels in self.where.items()})
        return f"{self.left} {_SIGNS[self.relation]} {self.right}{' where' if where else ''}{where}"

    def plain(self) -> dict[str, Any]:
        """As it stands in a sweep file."""
        right = self.right.plain() if isinstance(self.right, Quantity) else self.right
        where = {axis: labels[0] if len(labels) == 1 else list(labels) for axis, labels in self.where.items()}
        return {
            "text": self.text,
            "left": self.left.plain(),
            "relation": self.relation,
            "right": right,
            **({"where": where} if where else {}),
            **({"note": self.note} if self.note else {}),
        }
