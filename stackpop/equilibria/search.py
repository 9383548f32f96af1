"""Multi-start search over stochastic leader policies: where to start, how to climb, what to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from stackpop.equilibria.policy_returns import TOLERANCE, Array, UnitGame, onto_simplex
from stackpop.equilibria.results import PureCommitment, StochasticCommitment
from stackpop.errors import TooLargeError, explain

SEARCH_LIMIT = 2**24  # numbers handled to play one policy against every follower table: about 0.1 s
SAMPLE_BUDGET = 2**26  # the same over all sampled policies: some tenths of a second
CLIMB_BUDGET = 2**21  # the same, the number of climbs times one policy
SAMPLES = 64, 2048  # at least, at most
CLIMBS = 4, 32
SPREAD = 3.0  # side of the sampled cube: about half of its points project onto the simplex's boundary
PRECISION = 1e-12  # SLSQP's stopping change, in unit payoffs


class Point(NamedTuple):
    """An objective at one policy with the slacks that must not be negative, and their gradients."""

    value: float
    gradient: Array  # [leader_state, row]
    slack: Array  # [constraint]
    slack_gradient: Array  # [constraint, leader_state, row]


class Climb(NamedTuple):
    """An objective, as a function of a policy [leader_state, row], and where to start climbing it."""

    objective: Callable[[Array], Point]
    start: Array  # [leader_state, row]


def _cost(unit: UnitGame) -> int:
    """Numbers handled to play one policy against every follower table."""
    game = unit.game
    return game.follower_tables * unit.batch.worlds * game.rows * game.columns * game.rounds


def check_searchable(unit: UnitGame) -> None:
    """Refuse a game in which playing a single policy already takes long.

    Raises:
        TooLargeError: the cost of a policy exceeds `SEARCH_LIMIT`.
    """
    game = unit.game
    if _cost(unit) > SEARCH_LIMIT:
        raise TooLargeError(
            explain(
                f"{game.rows}x{game.columns} game with memory {game.memory!r} and {game.rounds} rounds",
                expected=f"at most {SEARCH_LIMIT:,} steps to play one policy against every follower table",
                got=f"{_cost(unit):,} ({game.follower_tables:,} follower tables)",
                remedy="use fewer actions or rounds, or ask for the pure commitment only",
            )
        )


def climbs_allowed(unit: UnitGame) -> int:
    """How many climbs a search may make: fewer in larger games, so that it stays short."""
    least, most = CLIMBS
    return max(least, min(most, CLIMB_BUDGET // _cost(unit)))


def sampled_policies(unit: UnitGame, pure: PureCommitment) -> Array:
    """Policies [policy, leader_state, row]: the pure optimum, then fixed low-discrepancy points.

    Optima tend to be deterministic in some states and mixed in others, so the points are drawn (Sobol,
    unscrambled) from a cube larger than the simplex and projected onto it: many lie on its boundary.
    """
    states, rows = unit.game.leader_states, unit.game.rows
    least, most = SAMPLES
    samples = max(least, min(most, SAMPLE_BUDGET // _cost(unit)))
    sobol = torch.quasirandom.SobolEngine(states * rows)
    cube = sobol.draw(samples, dtype=torch.float64)
    points = onto_simplex(SPREAD * cube.numpy().reshape(samples, states, rows))
    return np.concatenate([pure_policy(unit, pure)[None], points])


def pure_policy(unit: UnitGame, pure: PureCommitment) -> Array:
    """The pure optimum's table as probabilities [leader_state, row]."""
    policy: Array = np.eye(unit.game.rows)[list(pure.leader_table)]
    return policy


def search(unit: UnitGame, pure: PureCommitment, climbs: Iterable[Climb], method: str) -> StochasticCommitment:
    """The best feasible end of all climbs, or the pure optimum where none is better by the tolerance.

    Climbing stops at the greatest return there can be; where the pure optimum earns it, `climbs` is not
    even begun.
    """
    value, policy = pure.optimistic, pure_policy(unit, pure)
    remaining = iter(climbs)
    while value < unit.bounds[1] - unit.tolerance and (attempt := next(remaining, None)):
        end = _climb(attempt)
        point = attempt.objective(end)
        reached = unit.leader_return(point.value)
        feasible = point.slack.min(initial=0.0) >= -TOLERANCE * unit.game.rounds
        if feasible and reached > value + unit.tolerance:
            value, policy = reached, end
    return StochasticCommitment(value, policy, method, unit.tolerance)


def _climb(attempt: Climb) -> Array:
    """A local maximum [leader_state, row], slacks kept where they can be, by sequential quadratic programming."""
    from scipy.optimize import minimize

    states, rows = attempt.start.shape
    last: dict[bytes, Point] = {}  # SLSQP asks for values and gradients of one point in separate calls

    def at(x: Array) -> Point:
        key = x.tobytes()
        if key not in last:
            last.clear()
            last[key] = attempt.objective(x.reshape(states, rows))
        return last[key]

    sums = np.kron(np.eye(states), np.ones(rows))  # [leader_state, leader_state · row]
    constraints: list[dict[str, Any]] = [{"type": "eq", "fun": lambda x: sums @ x - 1, "jac": lambda _: sums}]
    if at(attempt.start.ravel()).slack.size:
        slack_rows = {"fun": lambda x: at(x).slack, "jac": lambda x: at(x).slack_gradient.reshape(-1, x.size)}
        constraints.append({"type": "ineq", **slack_rows})
    found = minimize(
        lambda x: -at(x).value,
        attempt.start.ravel(),
        jac=lambda x: -at(x).gradient.ravel(),
        bounds=[(0.0, 1.0)] * attempt.start.size,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": PRECISION, "maxiter": 100},
    )
    return onto_simplex(found.x.reshape(states, rows))
