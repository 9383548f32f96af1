"""The exact values of a game's leader tables, which are known by their texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stackpop.analysis.strategies import table_label
from stackpop.equilibria import (
    BestResponses,
    best_responses,
    is_enumerable,
    overflows,
    rounding,
    walkable,
    walked_responses,
)
from stackpop.games import LEADER, Game, GameBatch, all_tables

WALKED_TABLES = 1024  # so many must be quick to walk through, or none is
BIT = "|"  # between what is played and what is answered to queries
Table = tuple[int, ...]


class Solved:
    """The exact values of the leader tables of a game, as far as they are known."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._best: BestResponses | None = None
        self._walked: dict[Table, float] = {}
        self.tables: NDArray[np.int64] = np.empty((0, game.leader_states), dtype=np.int64)
        self.optimistic = self.pessimistic = np.empty(0)
        self._sound = not overflows(game)
        if not self._sound:
            return
        if is_enumerable(game):
            self._best = best_responses(game)
            self.optimistic, self.pessimistic = self._best.leader_optimistic, self._best.leader_pessimistic
        elif walkable(game):
            walked = walked_responses(game, all_tables(game.leader_states, game.rows).numpy())
            self.optimistic, self.pessimistic = walked.leader_optimistic, walked.leader_pessimistic
        if self.optimistic.size:
            self.tables = all_tables(game.leader_states, game.rows).numpy()

    @cached_property
    def labels(self) -> list[str]:
        """The texts of all tables."""
        return [table_label(table) for table in self.tables.tolist()]

    @property
    def equilibrium(self) -> float:
        """The value of the best table."""
        return float(self.optimistic.max()) if self.optimistic.size else np.nan

    @cached_property
    def is_equilibrium(self) -> NDArray[np.bool_]:
        """[table] Whether each table earns that."""
        tolerance = rounding(GameBatch.of([self._game]))[LEADER]
        return np.asarray(self.optimistic >= self.equilibrium - tolerance)

    @cached_property
    def replies(self) -> NDArray[Any]:
        """What the exact oracle answers to every table, [table, follower_state]."""
        follower_tables = all_tables(self._game.follower_states, self._game.columns).numpy()
        none = np.empty((0, self._game.follower_states), dtype=np.int64)
        return none if self._best is None else follower_tables[self._best.response]

    def value(self, table: Table) -> float:
        """The exact value of a table; NaN where it is too much to find."""
        if self.optimistic.size:
            return float(self.optimistic[position(table, self._game.rows)])
        if not self._sound or not walkable(self._game, WALKED_TABLES):
            return np.nan
        if table not in self._walked:
            self._walked[table] = float(walked_responses(self._game, np.array([table])).leader_optimistic[0])
        return self._walked[table]

    def response(self, table: Table) -> str:
        """The best response to a table, as text; empty where it is not known."""
        return "" if self._best is None else table_label(self.replies[position(table, self._game.rows)].tolist())

    def is_best(self, context: int, reply: Sequence[int]) -> float:
        """Whether a follower table is a best response to the leader table at a position; NaN where not known."""
        if self._best is None:
            return np.nan
        return float(self._best.is_best[context, position(reply, self._game.columns)])

    def judge(self, text: str) -> tuple[float, float]:
        """Whether the table that is played is an equilibrium, and its pessimistic value; NaN where not known."""
        table = played_in(text)
        if not self.optimistic.size or not fits(self._game, table):
            return np.nan, np.nan
        at = position(table, self._game.rows)
        return float(self.is_equilibrium[at]), float(self.pessimistic[at])

    def distance(self, policy: NDArray[Any]) -> NDArray[np.float64]:
        """`equilibrium_distance` of policies [..., state, action]."""
        states, rows = self._game.leader_states, self._game.rows
        if not self.optimistic.size or not self.is_equilibrium.any():
            return np.full(policy.shape[:-2], np.nan)
        nearest = np.eye(rows)[self.tables[self.is_equilibrium]].reshape(-1, states * rows)  # [equilibrium, cell]
        flat = policy[..., :states, :rows].reshape(-1, states * rows).astype(float)
        agreed = np.concatenate([(part @ nearest.T).max(-1) for part in _parts(flat, len(nearest))])
        return np.asarray(1 - agreed.reshape(policy.shape[:-2]) / states)


@lru_cache(maxsize=64)  # of 16 MB at the most
def solved(game: Game) -> Solved:
    """Each game once."""
    return Solved(game)


def _parts(rows: NDArray[Any], width: int) -> list[NDArray[Any]]:
    """Blocks of rows whose products with a matrix of that width stay small."""
    size = max(1, 2**20 // width)
    return [rows[first : first + size] for first in range(0, max(1, len(rows)), size)]


def fits(game: Game, table: Table) -> bool:
    """Whether a table is one of the game's leader."""
    return len(table) == game.leader_states and max(table) < game.rows


def played_in(text: str) -> Table:
    """The table that is played, from its text."""
    played = text.split(BIT)[0]
    return tuple(map(int, played.split(",") if "," in played else played))


def position(table: Iterable[int], actions: int) -> int:
    """Position of a table in `stackpop.games.all_tables`; of any length, so without fixed-width integers."""
    index = 0
    for action in table:
        index = index * actions + action
    return index


def answered_in(text: str) -> Table:
    """The table that answers queries, from its text."""
    return played_in(text.split(BIT)[-1])
