"""Mixed commitment in one-shot games, by linear programming."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from stackpop.equilibria.policy_returns import Array, UnitGame, onto_simplex
from stackpop.equilibria.results import StochasticCommitment
from stackpop.errors import SpecError, explain
from stackpop.games import FOLLOWER, LEADER, Game


def is_one_shot(game: Game) -> bool:
    """Whether the game is a single round without memory, which `mixed_commitment` solves exactly."""
    return game.rounds == 1 and game.memory == "none"


def mixed_commitment(game: Game) -> StochasticCommitment:
    """The optimal mixed commitment of a one-shot game: one linear program a column, the best of them.

    For each column b: maximise sum_a p(a) r_L(a, b) over distributions p to which b is a best response
    (Conitzer & Sandholm, "Computing the optimal strategy to commit to", EC 2006); follower ties are
    broken for the leader.

    Raises:
        SpecError: the game has more than one round, or memory.
    """
    if not is_one_shot(game):
        got = f"{game.rounds} rounds, memory {game.memory!r}"
        remedy = "use behavioural_commitment for repeated games"
        raise SpecError(explain("game", expected="one round and memory 'none'", got=got, remedy=remedy))
    unit = UnitGame(game)
    payoffs = unit.batch.payoffs[0].numpy()  # [row, column, player]
    found = [_best_mixture(payoffs, column) for column in range(game.columns)]
    value, mixture = max((f for f in found if f is not None), key=itemgetter(0))
    return StochasticCommitment(
        value=unit.leader_return(value),
        policy=onto_simplex(mixture[None]),
        method="one linear program a column, HiGHS",
        tolerance=unit.tolerance,
    )


def _best_mixture(payoffs: Array, column: int) -> tuple[float, Array] | None:
    """The leader's value and mixture [row] that make `column` a best response, None where nothing does."""
    from scipy.optimize import linprog

    gains = payoffs[..., FOLLOWER] - payoffs[:, [column], FOLLOWER]  # [row, column] of deviating
    solved = linprog(
        -payoffs[:, column, LEADER],
        A_ub=gains.T,
        b_ub=np.zeros(payoffs.shape[1]),
        A_eq=np.ones((1, payoffs.shape[0])),
        b_eq=[1.0],
        method="highs",
    )
    return (-float(solved.fun), solved.x) if solved.success else None
