"""Best responses in games with too many follower tables: by the ways an episode can go.

What a follower table does in states that an episode never visits makes no difference. So against one leader table
there are at most columns^min(rounds, states) different responses, however many tables there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log10

import numpy as np
from numpy.typing import NDArray

from stackpop.equilibria.enumeration import ENUMERATION_LIMIT, check_size, rounding, table_at
from stackpop.equilibria.results import PureCommitment
from stackpop.games import FOLLOWER, LEADER, Game, GameBatch

REPLIES_AT_ONCE = 2**21  # of walks, [walk, follower_state]: 4 MiB


@dataclass(frozen=True)
class WalkedResponses:
    """What some leader tables are answered with; fields as in `BestResponses`, each [leader_table]."""

    follower_return: NDArray[np.float64]
    leader_optimistic: NDArray[np.float64]
    leader_pessimistic: NDArray[np.float64]


def walkable(game: Game, leader_tables: int | None = None) -> bool:
    """Whether `walked_responses` to so many leader tables, or to all, stay within `ENUMERATION_LIMIT` steps."""
    return _log_steps(game, leader_tables) <= log10(ENUMERATION_LIMIT)


def _log_steps(game: Game, leader_tables: int | None = None) -> float:
    """Decimal logarithm of the rounds to be walked through."""
    tables = game.leader_states * log10(game.rows) if leader_tables is None else log10(leader_tables)
    return tables + log10(game.columns) * _branchings(game) + log10(game.rounds)


def _branchings(game: Game) -> int:
    """How often, at most, an episode against one leader table comes to a state that it has not been in."""
    return min(game.rounds, game.follower_states)


def _tables_at_once(game: Game) -> int:
    """Leader tables that are walked through side by side."""
    replies: int = game.columns ** _branchings(game) * game.follower_states
    return max(1, REPLIES_AT_ONCE // replies)


def walked_responses(game: Game, leader_tables: NDArray[np.int64]) -> WalkedResponses:
    """The best response to each of the leader tables [leader_table, state], exactly.

    Where it is not `walkable`, it takes long. Payoffs that overflow raise nothing; the numbers then mean nothing.
    """
    batch, block = GameBatch.of([game]), _tables_at_once(game)
    tolerance = rounding(batch)
    blocks = (leader_tables[first : first + block] for first in range(0, len(leader_tables), block))
    parts = [_answers(*_walk(batch, tables)[:2], tolerance) for tables in blocks]
    return WalkedResponses(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def walked_response(game: Game, leader_table: Sequence[int]) -> tuple[int, ...]:
    """The follower table that answers one leader table, the lowest of the leader's favourites; see `BestResponses`."""
    batch = GameBatch.of([game])
    tolerance = rounding(batch)
    _, returns, replies = _walk(batch, np.array([leader_table]))
    leader, follower = returns[:, LEADER], returns[:, FOLLOWER]
    is_best = follower >= follower.max() - tolerance[FOLLOWER]
    favourite = is_best & (leader >= leader[is_best].max() - tolerance[LEADER])
    return tuple(min(np.maximum(replies[favourite], 0).tolist()))  # in states that it never visits, the first action


@lru_cache(maxsize=64)  # its value and its tables are asked for apart, and it can take seconds
def walked_commitment(game: Game) -> PureCommitment:
    """`pure_commitment` of a game of which all episodes can be walked through, however many follower tables it has.

    Raises:
        TooLargeError: the game is not `walkable`.
    """
    beside = f"{game.columns}^{_branchings(game)} ways that an episode can go x rounds"
    check_size(game, _log_steps(game), "to walk through", beside)
    # Block by block, also of the tables themselves: where episodes are short, these are what there are most of.
    block = _tables_at_once(game)
    starts = range(0, game.leader_tables, block)
    parts = (walked_responses(game, _tables(game, start, block)) for start in starts)
    best = np.array([(part.leader_optimistic.max(), part.leader_pessimistic.max()) for part in parts])  # [block, two]
    optimistic, pessimistic = best.max(0).tolist()
    enough = optimistic - rounding(GameBatch.of([game]))[LEADER]
    start = starts[int((best[:, 0] >= enough).argmax())]
    again = walked_responses(game, _tables(game, start, block))
    leader_table = table_at(start + int((again.leader_optimistic >= enough).argmax()), game.leader_states, game.rows)
    return PureCommitment(optimistic, pessimistic, leader_table, walked_response(game, leader_table))


def _tables(game: Game, first: int, count: int) -> NDArray[np.int64]:
    """So many leader tables from the `first` on, as far as there are, in the order of `all_tables`: [table, state]."""
    numbers = np.arange(first, min(first + count, game.leader_tables))
    tables: NDArray[np.int64] = numbers[:, None] // game.rows ** np.arange(game.leader_states)[::-1] % game.rows
    return tables


def _walk(
    game: GameBatch, tables: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int16]]:
    """Every way that an episode against each leader table can go: where each table's ones begin, returns and replies.

    tables: [leader_table, state]. Result: [leader_table], [walk, player] and [walk, follower_state], -1 in states that
    were not visited, in the order of the tables.
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
    return np.flatnonzero(np.diff(table, prepend=-1)), total, replies


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
