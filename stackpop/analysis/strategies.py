"""Names of leader tables: always cooperate, tit for tat, grim, ...

A table is told by how it plays: states that its own actions never lead to do not count. In games of two actions each,
action 0 is called cooperation and action 1 defection, as in the prisoner's dilemma, whatever they stand for in the game
at hand. Sources of the names: Axelrod, "The Evolution of Cooperation" (1984); Nowak and Sigmund, "A strategy of
win-stay, lose-shift" (Nature 364, 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from stackpop.games import Game, GameBatch, Memory

COOPERATE, DEFECT = 0, 1
# What a leader does after its own last action and the follower's.
Rule = Callable[[int, int], int]
RULES: Mapping[str, Rule] = {
    "tit for tat": lambda _, theirs: theirs,
    "reverse tit for tat": lambda _, theirs: 1 - theirs,
    "win-stay lose-shift": lambda ours, theirs: ours if theirs == COOPERATE else 1 - ours,
    "grim": lambda ours, theirs: COOPERATE if ours == theirs == COOPERATE else DEFECT,
    "firm but fair": lambda ours, theirs: DEFECT if (ours, theirs) == (COOPERATE, DEFECT) else COOPERATE,
    "alternate": lambda ours, _: 1 - ours,
}
WORDS = {COOPERATE: "cooperate", DEFECT: "defect"}


def strategy_name(game: Game, table: Sequence[int]) -> str:
    """The name of a deterministic leader table, its action in each leader state; empty where it has none.

    A table that starts with defection and else follows a named rule that starts with cooperation is that rule's
    "suspicious" form, as in "suspicious tit for tat". Where a player has more than two actions, only constant tables
    have names: "always 2".
    """
    return _name(game.memory, game.rows, game.columns, tuple(table))


def table_label(actions: Sequence[int]) -> str:
    """A table as text: its action in each state, "10011"; with commas if an action has two digits."""
    return ("," if max(actions, default=0) > 9 else "").join(map(str, actions))


@lru_cache(maxsize=4096)
def _name(memory: Memory, rows: int, columns: int, table: tuple[int, ...]) -> str:
    """Names depend on a game's shape alone, and the same tables come up again and again."""
    shape = Game((((0.0, 0.0),) * columns,) * rows, memory)
    return _named(shape).get(_behaviour(shape, table), "")


@lru_cache(maxsize=64)
def _named(game: Game) -> dict[tuple[int, ...], str]:
    """Behaviour -> name, for all games of a shape; the plainest name wins."""
    rows, two = game.rows, game.rows == game.columns == 2
    names: dict[tuple[int, ...], str] = {}
    for action in range(rows):
        name = f"always {WORDS[action] if two else action}"
        names.setdefault(_behaviour(game, [action] * game.leader_states), name)
    for name, rule in RULES.items() if two else ():
        for start, prefix in ((COOPERATE, ""), (DEFECT, "suspicious ")):
            table = _table_of(game, rule, start)
            if table is not None:
                names.setdefault(_behaviour(game, table), prefix + name)
    return names


def _table_of(game: Game, rule: Rule, start: int) -> list[int] | None:
    """The leader table that follows a rule; None where the leader does not observe what the rule asks for."""
    table = [start] + [-1] * (game.leader_states - 1)
    for world, state in enumerate(_observation(game)):
        if world == 0:
            continue
        action = rule((world - 1) % game.rows, (world - 1) // game.rows)
        if table[state] not in (-1, action) or state == 0:
            return None
        table[state] = action
    return table


def _behaviour(game: Game, table: Sequence[int]) -> tuple[int, ...]:
    """The table with -1 in the states that it never comes to, whatever the follower does."""
    observed = _observation(game)
    seen, todo = {0}, [0]
    while todo:
        row = table[observed[todo.pop()]]
        following = {1 + row + game.rows * column for column in range(game.columns)} - seen
        seen |= following
        todo += following
    reached = {observed[world] for world in seen}
    return tuple(action if state in reached else -1 for state, action in enumerate(table))


def _observation(game: Game) -> list[int]:
    """What the leader observes in each world state."""
    found: list[int] = GameBatch.of([game]).leader_observation.tolist()
    return found
