"""The optimum of the published protocol, in which the leader is sampled again after the queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stackpop.equilibria.enumeration import best_responses, pure_commitment
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
from stackpop.games import LEADER, Game, all_tables


def resample_commitment(game: Game, best: BestResponses | None = None) -> StochasticCommitment:
    """The best stochastic leader policy under the published protocol, numerically.

    The query answers are a table c, drawn from the policy; the follower plays a best response to c (ties
    broken for the leader's return under the policy); the leader is then sampled again in play. The
    value can exceed what any commitment earns, because c need not be what is played.

    Method: the sum of `Protocol` at fixed Sobol policies; SLSQP with exact gradients from the best of
    them. The end of a climb is a local maximum to the stated tolerance; that no other is higher is not
    proven, so read the value as a lower bound, unless it equals the greatest return there can be.

    best: the game's best responses, where they are known already.

    Raises:
        TooLargeError: too many tables to enumerate, or to search.
    """
    unit = UnitGame(game)
    best = best or best_responses(game)
    check_searchable(unit)
    pure = pure_commitment(game, best)
    return search(unit, pure, _climbs(Protocol(unit, best.is_best), pure), "Sobol multi-start, SLSQP")


def _climbs(protocol: Protocol, pure: PureCommitment) -> Iterator[Climb]:
    """Climbs from the sampled policies that earn most."""
    policies = sampled_policies(protocol.unit, pure)
    ranked = np.argsort(-protocol.values(policies), kind="stable")
    for start in ranked[: climbs_allowed(protocol.unit)]:
        yield Climb(protocol.at, policies[start])


@dataclass(frozen=True)
class Protocol:
    """The leader's objective: sum over tables c of w_c(p) · max over F in BR(c) of V_L(p, F).

    w_c(p) = prod_s p(c_s|s) is the chance that the query answers are table c.
    """

    unit: UnitGame
    is_best: NDArray[np.bool_]  # [leader_table, follower_table]

    @cached_property
    def _answers(self) -> NDArray[np.int64]:
        """Every leader table, [leader_table, state]."""
        answers: NDArray[np.int64] = all_tables(self.unit.game.leader_states, self.unit.game.rows).numpy()
        return answers

    def values(self, policies: Array) -> Array:
        """The objective [policy] at policies [policy, leader_state, row]."""
        leader = self.unit.returns(policies)[..., LEADER]  # [policy, follower_table]
        values = np.zeros(len(policies))
        for answers, is_best in zip(self._answers, self.is_best, strict=True):
            chance = policies[:, np.arange(len(answers)), answers].prod(axis=1)
            values += chance * leader[:, is_best].max(axis=1)
        return values

    def at(self, policy: Array) -> Point:
        """The objective and its gradient at one policy [leader_state, row]; there are no constraints."""
        returns, gradients = self.unit.returns_and_gradients(policy)
        leader = returns[:, LEADER]
        response = np.where(self.is_best, leader, -np.inf).argmax(axis=1)  # [leader_table]
        earned = leader[response]
        states = np.arange(policy.shape[0])
        answers = policy[states, self._answers]  # [leader_table, state] chance of each answer
        chance = answers.prod(axis=1)
        played = np.bincount(response, chance, minlength=len(leader))  # [follower_table]
        gradient = np.tensordot(played, gradients[:, LEADER], axes=1)
        for s in states:
            of_others = answers[:, states != s].prod(axis=1)  # [leader_table] chance of the other answers
            gradient[s] += np.bincount(self._answers[:, s], of_others * earned, minlength=policy.shape[1])
        return Point(float(chance @ earned), gradient, np.zeros(0), np.zeros((0, *policy.shape)))
