"""Every exact value a sweep stores beside a game's learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from stackpop.equilibria.behavioural import behavioural_commitment
from stackpop.equilibria.enumeration import (
    ENUMERATION_LIMIT,
    best_responses,
    check_enumerable,
    enumeration_size,
    pure_commitment,
)
from stackpop.equilibria.mixed import is_one_shot, mixed_commitment
from stackpop.equilibria.policy_returns import UnitGame
from stackpop.equilibria.resample import resample_commitment
from stackpop.equilibria.results import BestResponses, PureCommitment, StochasticCommitment
from stackpop.equilibria.walks import walkable, walked_commitment
from stackpop.errors import TooLargeError
from stackpop.games import Game


@dataclass(frozen=True)
class GroundTruth:
    """The leader's equilibrium returns in one game, offset included; NaN where returns overflow.

    pure, pure_pessimistic: best deterministic table, follower ties broken for and against the leader.
    resample: best stochastic leader under the published protocol (numerical, read as >=).
    behavioural: best stochastic leader when the follower answers the policy itself (numerical, read as >=).
    mixed: exact optimum of a one-shot game, NaN for others.
    leader_return_min, leader_return_max: what an episode can pay the leader; infinite where returns overflow.
    tolerance: of the numerical values, in returns.
    """

    pure: float
    pure_pessimistic: float
    resample: float
    behavioural: float
    mixed: float
    leader_return_min: float
    leader_return_max: float
    tolerance: float


def ground_truth(game: Game) -> GroundTruth:
    """All equilibrium values of a game; the same bits every time. A value that is too large to search is NaN.

    Raises:
        TooLargeError: too many tables to enumerate.
    """
    check_enumerable(game)
    if overflows(game):
        return _unknown(-math.inf, math.inf)
    unit = UnitGame(game)
    best = best_responses(game)
    pure = pure_commitment(game, best)
    return GroundTruth(
        pure=pure.optimistic,
        pure_pessimistic=pure.pessimistic,
        resample=_value(resample_commitment, game, best),
        behavioural=_value(behavioural_commitment, game, best),
        mixed=mixed_commitment(game).value if is_one_shot(game) else math.nan,
        leader_return_min=unit.bounds[0],
        leader_return_max=unit.bounds[1],
        tolerance=unit.tolerance,
    )


def known_truth(game: Game) -> GroundTruth:
    """`ground_truth` of a game of any size: where all pairs of tables are too many, most values are NaN.

    The pure commitments are known even then if the ways that episodes can go are few enough to walk through.
    """
    if _enumerates(game):
        return ground_truth(game)
    if overflows(game):
        return _unknown(-math.inf, math.inf)
    unknown = _unknown(*UnitGame(game).bounds)
    if not walkable(game):
        return unknown
    pure = walked_commitment(game)
    return replace(unknown, pure=pure.optimistic, pure_pessimistic=pure.pessimistic)


def known_commitment(game: Game) -> PureCommitment:
    """`pure_commitment` of a game of any size of which all episodes can be walked through.

    Raises:
        TooLargeError: too many ways that episodes can go.
    """
    return pure_commitment(game) if _enumerates(game) else walked_commitment(game)


def _enumerates(game: Game) -> bool:
    """Whether all pairs of tables can be played once."""
    return enumeration_size(game) <= math.log10(ENUMERATION_LIMIT)


def _unknown(least: float, most: float) -> GroundTruth:
    """Nothing but what an episode can pay the leader."""
    nothing = dict.fromkeys((field.name for field in fields(GroundTruth)), math.nan)
    return GroundTruth(**nothing | {"leader_return_min": least, "leader_return_max": most})


def _value(commitment: Callable[[Game, BestResponses], StochasticCommitment], game: Game, best: BestResponses) -> float:
    try:
        return commitment(game, best).value
    except TooLargeError:
        return math.nan


def overflows(game: Game) -> bool:
    """Whether the difference of two returns can leave the range of a float (or a payoff is not finite)."""
    largest = max(abs(payoff + game.reward_offset) for row in game.payoffs for cell in row for payoff in cell)
    return not math.isfinite(2.0 * game.rounds * largest)
