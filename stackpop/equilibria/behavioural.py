"""Behavioural commitment: the follower best-responds to the leader's stochastic policy itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from stackpop.equilibria.enumeration import best_responses, pure_commitment
from stackpop.equilibria.mixed import is_one_shot, mixed_commitment
from stackpop.equilibria.policy_returns import Array, UnitGame
from stackpop.equilibria.results import BestResponses, PureCommitment, StochasticCommitment
from stackpop.equilibria.search import (
    Climb,
    Point,
    check_searchable,
    climbs_allowed,
    sampled_policies,
    search,
)
from stackpop.games import FOLLOWER, LEADER, Game

TIE = 1e-9  # follower regret, in unit payoffs, below which a sampled policy counts as a start that is feasible


def behavioural_commitment(game: Game, best: BestResponses | None = None) -> StochasticCommitment:
    """The best stochastic stationary leader policy when the follower answers the policy itself.

    The follower plays a deterministic stationary table that maximises its expected return; ties are
    broken for the leader. One-shot games are solved by `mixed_commitment`.

    Method: for each follower table F, maximise V_L(p, F) over policies p subject to V_F(p, F) >= V_F(p, F')
    for every F', by SLSQP with exact gradients, from the sampled (Sobol) policy that suits F best. Ends
    in which the follower lacks more than the tolerance are dropped. That no other optimum is higher is not
    proven, so read the value as a lower bound, unless it equals the greatest return there can be.

    best: the game's best responses, where they are known already.

    Raises:
        TooLargeError: too many tables to enumerate, or to search.
    """
    if is_one_shot(game):
        return mixed_commitment(game)
    unit = UnitGame(game)
    best = best or best_responses(game)
    check_searchable(unit)
    pure = pure_commitment(game, best)
    return search(unit, pure, _climbs(unit, pure), "Sobol multi-start, SLSQP for each follower table")


def _climbs(unit: UnitGame, pure: PureCommitment) -> Iterator[Climb]:
    """One climb for each follower table, the most promising first."""
    policies = sampled_policies(unit, pure)
    returns = unit.returns(policies)  # [policy, follower_table, player]
    regret = returns[..., FOLLOWER].max(axis=1, keepdims=True) - returns[..., FOLLOWER]
    # Where no sample makes a table a best response, the least regret comes nearest; it ranks below all others.
    promise = np.where(regret <= TIE, returns[..., LEADER], -1 - regret)  # [policy, follower_table]
    starts = promise.argmax(axis=0)  # [follower_table]
    for table in np.argsort(-promise.max(axis=0), kind="stable")[: climbs_allowed(unit)]:
        yield Climb(partial(_answered_by, unit, int(table)), policies[starts[table]])


def _answered_by(unit: UnitGame, table: int, policy: Array) -> Point:
    """The leader's return when the follower plays `table`, which no other table may outdo."""
    returns, gradients = unit.returns_and_gradients(policy)
    others = np.arange(len(returns)) != table
    return Point(
        value=float(returns[table, LEADER]),
        gradient=gradients[table, LEADER],
        slack=returns[table, FOLLOWER] - returns[others, FOLLOWER],
        slack_gradient=gradients[table, FOLLOWER] - gradients[others, FOLLOWER],
    )
