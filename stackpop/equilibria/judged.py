"""The leader tables that followers are judged by: all of them, or where these are too many, a sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stackpop.equilibria.enumeration import MAX_TABLES, is_enumerable
from stackpop.equilibria.walks import walkable
from stackpop.games import Game, all_tables

SAMPLED_TABLES = 64


def judges_all(game: Game) -> bool:
    """Whether the best response to each leader table is known, and all of them can be visited again and again."""
    few = game.leader_states * math.log10(game.rows) <= math.log10(MAX_TABLES)
    return is_enumerable(game) or (few and walkable(game))


def knows_regret(game: Game) -> bool:
    """Whether the best response to each of the `judged_tables` can be found."""
    return judges_all(game) or walkable(game, SAMPLED_TABLES)


def judged_tables(game: Game) -> NDArray[np.int64]:
    """The leader tables, [table, leader_state]; a sample is random, and the same for all games of a shape."""
    if judges_all(game):
        tables: NDArray[np.int64] = all_tables(game.leader_states, game.rows).numpy()
        return tables
    uniforms = np.random.Generator(np.random.Philox(0)).random((SAMPLED_TABLES, game.leader_states))
    return (uniforms * game.rows).astype(np.int64)
