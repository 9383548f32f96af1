"""What the two players of a game can earn together: every pair of tables, and what all play lies within."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.analysis.played import games_of
from stackpop.equilibria import best_responses, is_enumerable, overflows, rounding
from stackpop.errors import StackpopError, explain
from stackpop.games import FOLLOWER, LEADER, Game, GameBatch, all_tables, table_returns

MOST_PAIRS = 2**20  # of tables, whose returns are held at once
DECIMALS = 9  # up to which two outcomes are the same
Points = NDArray[np.float64]  # [outcome, player], each once


@dataclass(frozen=True)
class TablePairs:
    """Returns [outcome, player] that pairs of deterministic tables give both players, each outcome once.

    outcomes: all pairs. nash: pairs in which neither player has a better table. stackelberg: the tables that are worth
    most to a leader who is answered by a best response, with the leader's favourite of these. hull: the corners of what
    any play can give, stochastic or not, in turn. All but the hull are empty where the tables are too many.
    """

    outcomes: Points
    nash: Points
    stackelberg: Points
    hull: Points


@lru_cache(maxsize=64)
def table_pairs(game: Game) -> TablePairs:
    """Where the play of a game can lead.

    Raises:
        StackpopError: its returns overflow.
    """
    if overflows(game):
        remedy = "divide all payoffs by a large number"
        raise StackpopError(explain("payoffs", expected="returns that are finite", got="an overflow", remedy=remedy))
    stage = (np.array(game.payoffs).reshape(-1, 2) + game.reward_offset) * game.rounds
    hull, none = _hull(_distinct(stage)), np.empty((0, 2))
    if not is_enumerable(game) or game.leader_tables * game.follower_tables > MOST_PAIRS:
        return TablePairs(none, none, none, hull)
    batch = GameBatch.of([game])
    leaders, followers = all_tables(game.leader_states, game.rows), all_tables(game.follower_states, game.columns)
    returns = table_returns(batch, leaders[None, :, None], followers[None, None])[0].numpy()
    slack = rounding(batch)
    best = best_responses(game)
    answered = returns[..., LEADER] >= returns[..., LEADER].max(0) - slack[LEADER]  # [leader_table, follower_table]
    value = best.leader_optimistic
    strong = np.flatnonzero(value >= value.max() - slack[LEADER])
    return TablePairs(
        _distinct(returns.reshape(-1, 2)),
        _distinct(returns[answered & best.is_best]),
        _distinct(returns[strong, best.response[strong]][:, [LEADER, FOLLOWER]]),
        hull,
    )


def state_names(results: xr.Dataset, states: int) -> list[str]:
    """What a leader remembers in each of its states, as "start" and (its own last action, the follower's).

    results: of one game. With a query bit there are as many states again, for what is answered to queries.
    """
    game = next(iter(games_of(results).of.values()))
    joint = [f"({a},{b})" for b in range(game.columns) for a in range(game.rows)]
    remembered = {"none": [], "opponent": [str(b) for b in range(game.columns)], "joint": joint}[game.memory]
    names = ["always"] if game.memory == "none" else ["start", *remembered]
    names += [f"query {name}" for name in names]
    return [*names, *(f"state {k}" for k in range(len(names), states))][:states]


def _distinct(points: NDArray[Any]) -> Points:
    return np.unique(np.round(points, DECIMALS) + 0.0, axis=0)


def _hull(points: Points) -> Points:
    """The corners of the convex hull, in turn (Andrew's monotone chain); fewer than three where it has no area."""

    def chain(ordered: Points) -> list[Points]:
        found: list[Points] = []
        for point in ordered:
            while len(found) > 1 and _turn(found[-2], found[-1], point) <= 0:
                found.pop()
            found.append(point)
        return found[:-1]

    return points if len(points) < 3 else np.array(chain(points) + chain(points[::-1]))


def _turn(a: Points, b: Points, c: Points) -> float:
    """Twice the area of a triangle, positive if its corners turn to the left."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
