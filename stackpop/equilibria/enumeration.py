"""Best responses and pure commitment, by playing every leader table against every follower table."""

from __future__ import annotations

from math import log10

import numpy as np
from numpy.typing import NDArray

from stackpop.equilibria.results import BestResponses, PureCommitment
from stackpop.errors import TooLargeError, explain
from stackpop.games import FOLLOWER, LEADER, Game, GameBatch, all_tables, table_returns

ENUMERATION_LIMIT = 2**27  # (pairs of tables) times (world states + rounds): some seconds on one core
MAX_TABLES = 4096  # of either player, for evaluations that visit every one of them
CHUNK_ELEMENTS = 2**20  # integers [leader_table, follower_table, world] held at once: 8 MiB an array


def enumeration_size(game: Game) -> float:
    """Decimal logarithm of the steps to play every leader table against every follower table.

    A logarithm, because the number of tables itself can have a million digits.
    """
    steps = 1 + game.rows * game.columns + game.rounds
    return log10(game.rows) * game.leader_states + log10(game.columns) * game.follower_states + log10(steps)


def is_enumerable(game: Game) -> bool:
    """Whether every table of either player can be visited, again and again."""
    leader, follower = game.leader_states * log10(game.rows), game.follower_states * log10(game.columns)
    return max(leader, follower) <= log10(MAX_TABLES) and enumeration_size(game) <= log10(ENUMERATION_LIMIT)


def check_enumerable(game: Game) -> None:
    """Refuse, before anything is allocated, a game with too many pairs of tables.

    Raises:
        TooLargeError: the enumeration would exceed `ENUMERATION_LIMIT`.
    """
    beside = f"{game.columns}^{game.follower_states} follower tables x world states and rounds"
    check_size(game, enumeration_size(game), "to enumerate", beside)


def check_size(game: Game, size: float, purpose: str, beside: str) -> None:
    """Refuse a game that takes more than `ENUMERATION_LIMIT` steps, 10^size.

    beside: what the steps are the product of, besides the leader tables.

    Raises:
        TooLargeError: it does.
    """
    if size <= log10(ENUMERATION_LIMIT):
        return
    raise TooLargeError(
        explain(
            f"{game.rows}x{game.columns} game with memory {game.memory!r} and {game.rounds} rounds",
            expected=f"at most {ENUMERATION_LIMIT:,} steps {purpose}",
            got=f"about 10^{size:.1f} ({game.rows}^{game.leader_states} leader tables x {beside})",
            remedy="use fewer actions or rounds" + ("" if game.memory == "none" else ", or a smaller memory"),
        )
    )


def best_responses(game: Game) -> BestResponses:
    """The follower's best response to every deterministic leader table, exactly.

    Payoffs that overflow raise nothing; the numbers then mean nothing.

    Raises:
        TooLargeError: too many tables to enumerate.
    """
    check_enumerable(game)
    batch = GameBatch.of([game])
    leaders = all_tables(game.leader_states, game.rows)  # [leader_table, state]
    followers = all_tables(game.follower_states, game.columns)  # [follower_table, state]
    tolerance = rounding(batch)
    chunk = max(1, CHUNK_ELEMENTS // (len(followers) * batch.worlds))
    parts = []
    for first in range(0, len(leaders), chunk):
        returns = table_returns(batch, leaders[None, first : first + chunk, None], followers[None, None])[0]
        parts.append(_answers(returns.numpy(), tolerance))
    return BestResponses(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@np.errstate(invalid="ignore")  # payoffs that overflow: infinity less infinity
def _answers(returns: NDArray[np.float64], tolerance: NDArray[np.float64]) -> tuple[NDArray[np.generic], ...]:
    """The fields of `BestResponses` for some leader tables, from returns [leader_table, follower_table, player].

    tolerance: [player] difference up to which two returns count as equal.
    """
    leader, follower = returns[..., LEADER], returns[..., FOLLOWER]
    best = follower.max(axis=1)
    is_best = follower >= best[:, None] - tolerance[FOLLOWER]
    optimistic = np.where(is_best, leader, -np.inf).max(axis=1)
    pessimistic = np.where(is_best, leader, np.inf).min(axis=1)
    response = (is_best & (leader >= optimistic[:, None] - tolerance[LEADER])).argmax(axis=1)
    return best, optimistic, pessimistic, response, is_best


def rounding(batch: GameBatch) -> NDArray[np.float64]:
    """[player] the largest rounding error of a sum of `rounds` payoffs: equal sums in any order tie within it.

    Each player's own, or large payoffs of one would blur small ones of the other.
    """
    largest_return: NDArray[np.float64] = (batch.rounds * batch.payoffs.abs().amax((0, 1, 2))).numpy()
    return 2 * batch.rounds * np.finfo(np.float64).eps * largest_return


def pure_commitment(game: Game, best: BestResponses | None = None) -> PureCommitment:
    """The exact optimum over deterministic stationary leader tables, under both tie-breakings.

    best: the game's best responses, where they are known already.

    Raises:
        TooLargeError: too many tables to enumerate.
    """
    best = best or best_responses(game)
    optimistic = float(best.leader_optimistic.max())
    near = best.leader_optimistic >= optimistic - rounding(GameBatch.of([game]))[LEADER]
    optimum = int(near.argmax())
    return PureCommitment(
        optimistic=optimistic,
        pessimistic=float(best.leader_pessimistic.max()),
        leader_table=table_at(optimum, game.leader_states, game.rows),
        follower_table=table_at(int(best.response[optimum]), game.follower_states, game.columns),
    )


def table_at(index: int, states: int, actions: int) -> tuple[int, ...]:
    """The table at a position of `stackpop.games.all_tables`: its action in each state."""
    return tuple(index // actions**place % actions for place in reversed(range(states)))
