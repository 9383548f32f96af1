"""Best responses in games with too many follower tables: by the ways an episode can go.

What a follower table does in states that an episode never visits makes no difference. So against one leader table
there are at most columns^min(rounds, states) different responses, however many tables there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import log10

import numpy as np
from numpy.typing import NDArray

from stackpop.equilibria.enumeration import ENUMERATION_LIMIT, rounding
from stackpop.games import FOLLOWER, LEADER, Game, GameBatch, all_tables

WALKS_AT_ONCE = 2**18


@dataclass(frozen=True)
class WalkedResponses:
    """What some leader tables are answered with; fields as in `BestResponses`, each [leader_table]."""

    follower_return: NDArray[np.float64]
    leader_optimistic: NDArray[np.float64]
    leader_pessimistic: NDArray[np.float64]


def walkable(game: Game, leader_tables: int | None = None) -> bool:
    """Whether `walked_responses` to so many leader tables, or to all, stay within `ENUMERATION_LIMIT` steps."""
    tables = game.leader_states * log10(game.rows) if leader_tables is None else log10(leader_tables)
    return tables + _log_walks(game) + log10(game.rounds) <= log10(ENUMERATION_LIMIT)


def _log_walks(game: Game) -> float:
    """Decimal logarithm of the most ways that an episode against one leader table can go."""
    return log10(game.columns) * min(game.rounds, game.follower_states)


def walked_responses(game: Game, leader_tables: NDArray[np.int64]) -> WalkedResponses:
    """The best response to each of the leader tables [leader_table, state], exactly.

    Where it is not `walkable`, it takes long. Payoffs that overflow raise nothing; the numbers then mean nothing.
    """
    batch = GameBatch.of([game])
    tolerance = rounding(batch)
    block = max(1, int(WALKS_AT_ONCE / 10 ** _log_walks(game)))
    blocks = (leader_tables[first : first + block] for first in range(0, len(leader_tables), block))
    parts = [_answers(*_walk(batch, tables), tolerance) for tables in blocks]
    return WalkedResponses(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def walked_commitment(game: Game) -> tuple[float, float]:
    """The leader's best return over all its tables, with follower ties broken for it and against it.

    Each is NaN where that is too much to walk through.
    """
    if not walkable(game):
        return math.nan, math.nan
    found = walked_responses(game, all_tables(game.leader_states, game.rows).numpy())
    return float(found.leader_optimistic.max()), float(found.leader_pessimistic.max())


def _walk(game: GameBatch, tables: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every way that an episode against each leader table can go: where each table's ones begin, and all returns.

    tables: [leader_table, state]. Result: [leader_table] and [walk, player], in the order of the tables.
    """
    acts = tables[:, game.leader_observation.numpy()]  # [leader_table, world]
    observed, payoffs = game.follower_observation.numpy(), game.payoffs[0].numpy()
    table = np.arange(len(tables))  # of each walk, as all that follows
    world = np.zeros_like(table)
    replies = np.full((len(tables), game.follower_states), -1, dtype=np.int16)  # -1 where it has not been yet
    total = np.zeros((len(tables), 2))
    for _ in range(game.rounds):
        known = replies[np.arange(len(world)), observed[world]]
        # A walk to a new state goes on as one for each action there.
        came_from = np.repeat(np.arange(len(world)), np.where(known < 0, game.columns, 1))
        first = np.diff(came_from, prepend=-1) > 0
        branch = np.arange(len(came_from)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        table, world, known = table[came_from], world[came_from], known[came_from]
        column = np.where(known < 0, branch, known)
        replies = replies[came_from]
        replies[np.arange(len(world)), observed[world]] = column
        row = acts[table, world]
        total = total[came_from] + payoffs[row, column]
        world = 1 + row + game.rows * column
    return np.flatnonzero(np.diff(table, prepend=-1)), total


@np.errstate(invalid="ignore")  # payoffs that overflow: infinity less infinity
def _answers(
    starts: NDArray[np.int64], returns: NDArray[np.float64], tolerance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """The fields of `WalkedResponses` from every way that episodes can go; see `_walk`."""
    leader, follower = returns[:, LEADER], returns[:, FOLLOWER]
    best = np.maximum.reduceat(follower, starts)
    lengths = np.diff(starts, append=len(returns))
    is_best = follower >= np.repeat(best - tolerance[FOLLOWER], lengths)
    optimistic = np.maximum.reduceat(np.where(is_best, leader, -np.inf), starts)
    pessimistic = np.minimum.reduceat(np.where(is_best, leader, np.inf), starts)
    return best, optimistic, pessimistic
