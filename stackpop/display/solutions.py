"""Games: their payoffs, exact values and optimal commitments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackpop.display.terminal import console, make_table, print_table
from stackpop.errors import SpecError, explain
from stackpop.wording import count, number

if TYPE_CHECKING:
    from stackpop.games import Game


def solution(name: str, game: Game) -> None:
    """The exact values of a game, as far as it is small enough to tell them, and an optimal commitment.

    Raises:
        SpecError: the game's returns overflow.
        TooLargeError: not even the pure commitment can be found.
    """
    from stackpop.equilibria import known_commitment, known_truth

    truth = known_truth(game)
    if math.isinf(truth.leader_return_max):
        expected, got = "numbers whose sum over an episode is a finite number", f"an overflow in {game.rounds} rounds"
        raise SpecError(explain("payoffs", expected=expected, got=got, remedy="divide all of them by a large number"))
    pure = known_commitment(game)
    title = f"{name}: {game.memory} memory, {count(game.rounds, 'round')}, offset {game.reward_offset:g}"
    table = make_table(title, "leader's return at")
    for column in ("value", "without offset"):
        table.add_column(column, justify="right")
    unknown, values = [], asdict(truth)
    for key, (meaning, qualifier) in _meanings(game).items():
        if math.isnan(values[key]):
            unknown.append(meaning)
        else:
            without = values[key] - game.rounds * game.reward_offset
            table.add_row(f"{meaning}{qualifier}", number(values[key], 4), number(without, 4))
    print_table(table)
    if unknown:
        console.print(f"not known, for there are too many tables: {', '.join(unknown)}")
    console.print("optimal pure commitment and the follower's best response: the action in each state of memory")
    console.print(f"  leader     {_actions(pure.leader_table, game, game.columns)}")
    console.print(f"  follower   {_actions(pure.follower_table, game, game.rows)}")


def _meanings(game: Game) -> dict[str, tuple[str, str]]:
    """What each value of a game means, and how it is to be read."""
    from stackpop.equilibria import is_one_shot

    mixed = {"mixed": ("mixed commitment", " (one-shot games)")} if is_one_shot(game) else {}
    return {
        "pure": ("pure equilibrium, ties for the leader", ""),
        "pure_pessimistic": ("pure equilibrium, ties against the leader", ""),
        **mixed,
        "resample": ("optimum of the resampling protocol", " (at least)"),
        "behavioural": ("behavioural commitment", " (at least)"),
    }


def _actions(table: Sequence[int], game: Game, others: int) -> str:
    """A deterministic table, with the states named by the actions they remember (leader's first)."""
    joint = [f"({a},{b})" for b in range(game.columns) for a in range(game.rows)]
    remembered = {"none": [], "opponent": [str(action) for action in range(others)], "joint": joint}[game.memory]
    states = ["always"] if game.memory == "none" else ["start", *remembered]
    return "  ".join(f"{state}: {action}" for state, action in zip(states, table, strict=True))


def games() -> None:
    """The named games."""
    from stackpop.games import CANONICAL, MATRICES

    title = "payoffs of one round: leader, follower; row is the leader's action"
    table = make_table(title, "game", "payoffs", "canonical")
    table.show_lines = True
    for name, payoffs in MATRICES.items():
        rows = "\n".join("   ".join(f"{a:g}, {b:g}" for a, b in row) for row in payoffs)
        table.add_row(name, rows, "yes" if name in CANONICAL else "")
    print_table(table)
