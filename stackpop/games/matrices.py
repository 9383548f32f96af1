"""The named games: payoffs of one round, indexed [row, column, player].

Row is the leader's action, column the follower's; player 0 is the leader, player 1 the follower.
The twelve canonical ordinal games and the others of Gerstgrasser & Parkes, "Oracles & Followers"
(ICML 2023).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from stackpop.errors import SpecError, did_you_mean, explain

Payoffs = tuple[tuple[tuple[float, float], ...], ...]  # [row, column, player]


def _two_by_two(*cells: tuple[float, float]) -> Payoffs:
    """Payoffs from the four cells (0,0), (0,1), (1,0), (1,1), each (leader, follower)."""
    a, b, c, d = cells
    return ((a, b), (c, d))


CANONICAL: Mapping[str, Payoffs] = {
    "prisoners_dilemma": _two_by_two((3, 3), (1, 4), (4, 1), (2, 2)),
    "stag_hunt": _two_by_two((4, 4), (1, 3), (3, 1), (2, 2)),
    "assurance": _two_by_two((4, 4), (1, 2), (2, 1), (3, 3)),
    "coordination": _two_by_two((4, 4), (2, 1), (1, 2), (3, 3)),
    "mixedharmony": _two_by_two((4, 4), (3, 1), (1, 3), (2, 2)),
    "harmony": _two_by_two((4, 4), (3, 2), (2, 3), (1, 1)),
    "noconflict": _two_by_two((4, 4), (2, 3), (3, 2), (1, 1)),
    "deadlock": _two_by_two((2, 2), (1, 4), (4, 1), (3, 3)),
    "prisoners_delight": _two_by_two((1, 1), (2, 4), (4, 2), (3, 3)),
    "hero": _two_by_two((1, 1), (3, 4), (4, 3), (2, 2)),
    "battle": _two_by_two((2, 2), (3, 4), (4, 3), (1, 1)),
    "chicken": _two_by_two((3, 3), (2, 4), (4, 2), (1, 1)),
}

MATRICES: Mapping[str, Payoffs] = {
    **CANONICAL,
    "modified_prisoners_dilemma": _two_by_two((4, 3), (2, 4), (3, 1), (1, 2)),
    "battle_of_the_sexes": _two_by_two((2, 1), (0, 0), (0, 0), (1, 2)),
    "battle_of_the_sexes_penalised_2": _two_by_two((2, 0.001), (-5, 0), (-5, 0), (1, 2)),
    "battle_of_the_sexes_penalised_1.5": _two_by_two((1.5, 0.001), (-5, 0), (-5, 0), (1, 2)),
}


def named_payoffs(name: str) -> Payoffs:
    """Payoffs [row, column, player] of a named game.

    Raises:
        SpecError: no game has that name; the nearest known one is suggested.
    """
    if name not in MATRICES:
        raise SpecError(explain("matrix", expected="a known game", got=repr(name), remedy=did_you_mean(name, MATRICES)))
    return MATRICES[name]


def check_number(value: object, field: str) -> float:
    """A finite number, as a float.

    Raises:
        SpecError: anything else, a number written as text included.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(explain(field, expected="a number", got=repr(value)))
    if not -sys.float_info.max <= value <= sys.float_info.max:  # math.isfinite fails on huge integers
        raise SpecError(explain(field, expected="a finite number", got=repr(value)))
    return float(value)


def check_payoffs(value: object, field: str = "payoffs") -> Payoffs:
    """Payoffs [row, column, player] from nested sequences of numbers.

    Raises:
        SpecError: not three levels deep, ragged, fewer than one action a player, or not finite numbers.
    """
    shape_hint = "rows of cells of [leader, follower] numbers, for instance [[[3, 3], [1, 4]], [[4, 1], [2, 2]]]"

    def items(x: object, where: str) -> Sequence[object]:
        if isinstance(x, Sequence) and not isinstance(x, str | bytes) and len(x) > 0:
            return x
        raise SpecError(explain(where, expected=shape_hint, got=repr(x)))

    rows: list[tuple[tuple[float, float], ...]] = []
    for i, row in enumerate(items(value, field)):
        cells = []
        for j, cell in enumerate(items(row, f"{field}[{i}]")):
            where = f"{field}[{i}][{j}]"
            pair = items(cell, where)
            if len(pair) != 2:
                raise SpecError(explain(where, expected="two numbers, [leader, follower]", got=f"{len(pair)}"))
            cells.append((check_number(pair[0], f"{where}[0]"), check_number(pair[1], f"{where}[1]")))
        if rows and len(cells) != len(rows[0]):
            raise SpecError(
                explain(f"{field}[{i}]", expected=f"{len(rows[0])} columns as in the first row", got=len(cells))
            )
        rows.append(tuple(cells))
    return tuple(rows)


def parse_payoffs(text: str) -> Payoffs:
    """Payoffs [row, column, player] from a game's name or from text.

    Text is rows separated by `/`, cells by blanks, a cell's two numbers by a comma, as in
    "3,3 1,4 / 4,1 2,2"; or nested lists, as in "[[[3,3],[1,4]],[[4,1],[2,2]]]".

    Raises:
        SpecError: neither a known name nor payoffs.
    """
    if text.lstrip().startswith("["):
        try:
            nested = json.loads(text)
        except (ValueError, RecursionError) as error:  # no JSON, a number of thousands of digits, too deep
            raise SpecError(explain("payoffs", expected="nested lists of numbers", got=f"{text!r} ({error})")) from None
        return check_payoffs(nested)
    if "," not in text and "/" not in text:
        return named_payoffs(text)
    return check_payoffs([[[_number(n) for n in cell.split(",")] for cell in row.split()] for row in text.split("/")])


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # for check_payoffs to refuse, with its place
