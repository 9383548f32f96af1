"""Checks of the games that a sweep file names and defines. Each returns what is valid; the document notes the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stackpop.equilibria import ENUMERATION_LIMIT, MAX_TABLES, enumeration_size
from stackpop.errors import SpecError, did_you_mean
from stackpop.games import MATRICES, Game, Payoffs, check_payoffs
from stackpop.spec.check_settings import RawAxes, mapping
from stackpop.spec.document import Document
from stackpop.spec.problems import Loc, shown
from stackpop.spec.runs import WORD

_NO_NAME = "name one, for instance prisoners_dilemma, or list several under `axes: {matrix: [...]}`"


def played_games(document: Document, axes: RawAxes) -> dict[str, Payoffs]:
    """Label -> payoffs of every game that the sweep plays."""
    known = {**MATRICES, **_own_games(document)}
    defined = {*known, *mapping(document, "payoffs")}  # one with wrong payoffs is reported as that alone
    games: dict[str, Payoffs] = {}
    for loc, label in matrix_places(document, axes).items():
        if isinstance(label, str) and label in known:
            games[label] = known[label]
        elif not isinstance(label, str) or label not in defined:
            advice = did_you_mean(label, defined) if isinstance(label, str) else _NO_NAME
            document.refuse(loc, expected="a known game", got=shown(label), remedy=advice)
    return games


def matrix_places(document: Document, axes: RawAxes) -> dict[Loc, Any]:
    """Where the file names a game -> what it names there."""
    if "matrix" in axes:
        return {("axes", "matrix", position): label for position, label in enumerate(axes["matrix"])}
    return {("matrix",): document.value.get("matrix")}


def _own_games(document: Document) -> dict[str, Payoffs]:
    games: dict[str, Payoffs] = {}
    for label, value in mapping(document, "payoffs").items():
        loc: Loc = ("payoffs", label)
        if label in MATRICES:
            advice = "choose another name"
            document.refuse(loc, expected="a new game", got=f"the named game {label!r}", remedy=advice, at_key=True)
        elif not re.fullmatch(WORD, label):
            advice = "choose another name"
            document.refuse(loc, expected="letters, digits and . _ -", got=repr(label), remedy=advice, at_key=True)
        else:
            games |= _own_game(document, label, value)
    return games


def _own_game(document: Document, label: str, value: object) -> dict[str, Payoffs]:
    """The game of a label, or nothing if its payoffs are wrong."""
    try:
        return {label: check_payoffs(value, field="")}
    except SpecError as error:  # its line starts with the position, for instance "[1][0]: "
        position, _, line = str(error).partition(": expected ")
        expected, _, got = line.rpartition(", got ")
        loc: Loc = ("payoffs", label, *map(int, re.findall(r"\d+", position)))
        advice = "write rows of cells, each cell the two numbers [leader, follower]"
        document.refuse(loc, expected=expected, got=got, remedy=advice)
    return {}


def check_tables(
    document: Document, games: Mapping[str, Payoffs], axes: RawAxes, memories: Sequence[Any], rounds: int
) -> None:
    """Refuse games of at most so many rounds in which there are too many deterministic tables to enumerate.

    A contextual follower with a table has a row for each of the leader's, and exact evaluation visits every table of
    either player. Followers with networks need none of that.
    """
    for loc, label in matrix_places(document, axes).items():
        if not isinstance(label, str) or label not in games:
            continue  # refused already
        for game in (Game(games[label], memory, rounds) for memory in memories):
            for expected, got in _too_many(game):
                advice = (
                    "use a smaller game.memory (joint > opponent > none), fewer actions or fewer rounds, or "
                    "contextual followers with follower.network mlp"
                )
                document.refuse(loc, expected=expected, got=f"{got} with memory {game.memory}", remedy=advice)


def _too_many(game: Game) -> Iterator[tuple[str, str]]:
    """What was expected of the number of tables, and what it is, wherever that is too much."""
    refused = False
    for player, actions, states in (
        ("leader", game.rows, game.leader_states),
        ("follower", game.columns, game.follower_states),
    ):
        if states * math.log2(actions) > math.log2(MAX_TABLES):  # the number itself can be too long to write
            refused = True
            yield f"at most {MAX_TABLES} {player} tables", f"{actions}^{states}"
    if not refused and enumeration_size(game) > math.log10(ENUMERATION_LIMIT):
        steps = f"about {10 ** enumeration_size(game):.1g} in {game.rounds} rounds"
        yield f"at most {ENUMERATION_LIMIT} steps to play all pairs of tables", steps
