"""Checks of settings that are sound alone and senseless together. The document notes what conflicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stackpop.equilibria import knows_regret
from stackpop.games import Game
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, shown
from stackpop.spec.runs import QUERYLESS_ORACLES
from stackpop.spec.sections import split_name
from stackpop.spec.sweep import SweepSpec


@dataclass(frozen=True)
class Conflict:
    """A value of one setting that makes no sense beside a value of another, and why."""

    name: str
    value: Any
    other: str
    other_value: Any
    why: str
    remedy: str


def check_conflicts(document: Document, sweep: SweepSpec) -> None:
    """Refuse what conflicts, where the first of the two settings stands: every value of an axis meets every other."""
    for conflict in _rules(sweep):
        if conflict.value in sweep.values(conflict.name) and conflict.other_value in sweep.values(conflict.other):
            document.refuse(
                _place(document, sweep, conflict),
                expected=f"something else with {conflict.other} {shown(conflict.other_value)}",
                got=f"{shown(conflict.value)}: {conflict.why}",
                remedy=conflict.remedy,
            )


def _rules(sweep: SweepSpec) -> Iterator[Conflict]:
    """What would conflict, if both values occur."""
    replay = ("commitment", "replay")
    drop = "leave one of the two out"
    hidden_why = "with replay the leader decides in its query answers alone, so nothing would be left to learn from"
    yield Conflict("hidden_queries", True, *replay, hidden_why, drop)
    bit_why = "with replay the leader decides in its query answers alone, so the bit would tell it nothing"
    yield Conflict("query_bit", True, *replay, bit_why, drop)
    for oracle in QUERYLESS_ORACLES:
        why = f"{oracle} asks no queries"
        for name, value in (("hidden_queries", True), ("query_bit", True), replay):
            yield Conflict(name, value, "follower.oracle", oracle, why, "leave it out, or use the contextual oracle")
    if sweep.values("hidden_queries") == [True]:
        why = "evolution strategies learn from returns of whole episodes, so hiding the queries changes nothing"
        yield Conflict("hidden_queries", True, "leader.algorithm", "es", why, "leave it out, or show it as an axis")
    yield from _unread(sweep)
    yield from _unjudged(sweep)


def _unread(sweep: SweepSpec) -> Iterator[Conflict]:
    """Settings that what another one chooses does not read."""
    drop = "leave one of the two out"
    for section in ("leader", "follower"):
        if "mlp" not in sweep.values(f"{section}.network"):
            why, advice = "a table has no hidden layers", f"leave it out, or set {section}.network to mlp"
            for value in filter(None, sweep.values(f"{section}.hidden")):
                yield Conflict(f"{section}.hidden", value, f"{section}.network", "table", why, advice)
    for name, other in (("epsilon", "parameter_noise"), ("noise", "epsilon_greedy")):
        for value in sweep.values(f"follower.{name}"):
            if value is not None:
                why = f"{other} reads no {name}"
                yield Conflict(f"follower.{name}", value, "follower.exploration", other, why, drop)


def _unjudged(sweep: SweepSpec) -> Iterator[Conflict]:
    """Games that are too large to tell a follower's regret, beside a limit of it: no leader would ever start."""
    rounds = max(sweep.values("game.rounds"))
    games = [
        (label, Game(payoffs, memory, rounds))
        for label, payoffs in sweep.games.items()
        for memory in sweep.values("game.memory")
    ]
    for most in sweep.values("follower.max_regret"):
        for label, game in games:
            if most is not None and not knows_regret(game):
                why = f"its best responses are too many to find, with memory {game.memory} and {rounds} rounds"
                advice = "leave it out, or use a smaller game.memory or fewer rounds"
                yield Conflict("follower.max_regret", most, "matrix", label, why, advice)


def _place(document: Document, sweep: SweepSpec, conflict: Conflict) -> Loc:
    """Where a value stands: in its setting, along its axis, or in the space of a search."""
    if sweep.search is not None and conflict.name in sweep.search.space:
        return "search", "space", conflict.name
    axis = document.value.get("axes", {}).get(conflict.name)
    if isinstance(axis, list):
        return "axes", conflict.name, axis.index(conflict.value)
    section, key = split_name(conflict.name)
    return (section, key) if section else (key,)
