"""Ground truth against published values, hand-known inequalities and a slow reference in plain Python."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plain_games import CONITZER_SANDHOLM, exact_returns, games, played, raw, reference
from stackpop.equilibria import (
    behavioural_commitment,
    best_responses,
    ground_truth,
    mixed_commitment,
    pure_commitment,
    resample_commitment,
)
from stackpop.equilibria.policy_returns import UnitGame
from stackpop.equilibria.resample import Protocol
from stackpop.games import CANONICAL, FOLLOWER, LEADER, MATRICES, Game, Memory, all_tables

# EXPERIMENTS.md section 6: raw payoffs summed over (T=10, joint), (T=5, opponent), (T=1, none).
SETTINGS: list[tuple[int, Memory]] = [(10, "joint"), (5, "opponent"), (1, "none")]
PURE = {
    **dict.fromkeys(CANONICAL, (40, 20, 4)),
    "prisoners_dilemma": (31, 16, 2),
    "deadlock": (30, 15, 3),
    "prisoners_delight": (30, 15, 3),
    "modified_prisoners_dilemma": (40, 20, 2),
    "battle_of_the_sexes": (20, 10, 2),
}
# Section 7, T=10, joint: resample and behavioural optimum.
STOCHASTIC = {
    **dict.fromkeys(CANONICAL, (40, 40)),
    "prisoners_dilemma": (33.42, 35),
    "prisoners_delight": (33.31, 30),
    "deadlock": (32.56, 30),
}


# --- a slow reference that shares nothing with the code under test ---------------------------------------


@settings(max_examples=40)
@given(games(most_actions=3, most_rounds=3))
def test_best_responses_agree_with_plain_python(game: Game) -> None:
    if game.memory == "opponent" and game.rows * game.columns == 9:
        game = dataclasses.replace(game, memory="none")  # 81 x 81 tables are slow in plain Python
    best, expected = best_responses(game), reference(game)
    followers = all_tables(game.follower_states, game.columns)
    np.testing.assert_allclose(best.follower_return, [e[0] for e in expected], atol=1e-9)
    np.testing.assert_allclose(best.leader_optimistic, [e[1] for e in expected], atol=1e-9)
    np.testing.assert_allclose(best.leader_pessimistic, [e[2] for e in expected], atol=1e-9)
    assert [tuple(followers[i].tolist()) for i in best.response] == [e[3] for e in expected]


@pytest.mark.parametrize(("rows", "columns", "memory"), [(3, 3, "opponent"), (3, 2, "opponent"), (2, 2, "joint")])
def test_pure_commitment_agrees_with_plain_python(rows: int, columns: int, memory: Memory) -> None:
    cells = np.random.default_rng(rows + columns).integers(0, 5, (rows, columns, 2)).tolist()
    game = Game(tuple(tuple((a, b) for a, b in row) for row in cells), memory, rounds=3)
    pure, expected = pure_commitment(game), reference(game)
    assert pure.optimistic == pytest.approx(max(e[1] for e in expected))
    assert pure.pessimistic == pytest.approx(max(e[2] for e in expected))
    assert played(game, pure.leader_table, pure.follower_table)[LEADER] == pytest.approx(pure.optimistic)


# --- published values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("column", range(3))
def test_pure_values_of_section_6_under_both_tie_breakings(name: str, column: int) -> None:
    rounds, memory = SETTINGS[column]
    pure = pure_commitment(raw(name, memory, rounds))
    assert (pure.optimistic, pure.pessimistic) == (PURE[name][column], PURE[name][column])


def test_defect_once_then_tit_for_tat_is_the_only_optimum_of_prisoners_dilemma() -> None:
    game = Game(MATRICES["prisoners_dilemma"])
    pure = pure_commitment(game)
    assert (pure.optimistic, pure.leader_table) == (6.0, (1, 0, 0, 1, 1))
    assert np.sum(best_responses(game).leader_optimistic == 6.0) == 1


@pytest.mark.parametrize("name", STOCHASTIC)
def test_three_optima_of_section_7(name: str) -> None:
    truth = ground_truth(raw(name))
    resample, behavioural = STOCHASTIC[name]
    assert truth.pure == truth.pure_pessimistic == PURE[name][0]
    assert truth.resample == pytest.approx(resample, abs=0.01)  # two decimals are published
    assert truth.behavioural == pytest.approx(behavioural, abs=1e-4)
    assert math.isnan(truth.mixed)
    assert (truth.leader_return_min, truth.leader_return_max) == (10, 40)


@pytest.mark.parametrize(
    ("name", "second_action"),
    [
        ("prisoners_dilemma", (0.199, 0.131, 1, 0.824, 1)),
        ("prisoners_delight", (0.437, 1, 1, 0.369, 1)),
        ("deadlock", (0.541, 1, 1, 0.408, 1)),
    ],
)
def test_resample_policies_of_section_7(name: str, second_action: tuple[float, ...]) -> None:
    policy = resample_commitment(raw(name)).policy
    np.testing.assert_allclose(policy[:, 1], second_action, atol=2e-3)
    np.testing.assert_allclose(policy.sum(axis=1), 1)


def test_conitzer_and_sandholms_example() -> None:
    game = Game(CONITZER_SANDHOLM, "none", rounds=1, reward_offset=0.0)
    mixed = mixed_commitment(game)
    assert pure_nash_values(game) == [2]
    assert pure_commitment(game).optimistic == 3
    assert mixed.value == pytest.approx(3.5)
    np.testing.assert_allclose(mixed.policy, [[0.5, 0.5]], atol=1e-6)


def pure_nash_values(game: Game) -> list[float]:
    """The leader's payoff at every pure Nash equilibrium of one round."""
    payoffs = np.array(game.payoffs) + game.reward_offset
    leader, follower = payoffs[..., LEADER], payoffs[..., FOLLOWER]
    nash = (leader == leader.max(axis=0)) & (follower == follower.max(axis=1, keepdims=True))
    return [float(value) for value in leader[nash]]


# --- inequalities ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(games(), st.data())
def test_no_response_beats_the_best_response(game: Game, data: st.DataObject) -> None:
    best = best_responses(game)
    leader = data.draw(st.tuples(*[st.integers(0, game.rows - 1)] * game.leader_states))
    follower = data.draw(st.tuples(*[st.integers(0, game.columns - 1)] * game.follower_states))
    index = list(itertools.product(range(game.rows), repeat=game.leader_states)).index(leader)
    assert played(game, leader, follower)[FOLLOWER] <= best.follower_return[index] + 1e-9
    assert best.is_best[index, best.response[index]]


@settings(max_examples=30)
@given(games(most_actions=3))
def test_commitment_is_worth_at_least_every_pure_nash(game: Game) -> None:
    pure = pure_commitment(game)
    assert pure.optimistic >= pure.pessimistic
    # To repeat a Nash equilibrium of one round is a commitment, whatever is remembered.
    assert all(pure.optimistic >= game.rounds * value - 1e-9 for value in pure_nash_values(game))


@settings(max_examples=8)
@given(games(most_rounds=3))
def test_stochastic_optima_lie_between_the_pure_optimum_and_the_greatest_return(game: Game) -> None:
    truth = ground_truth(game)
    for value in (truth.resample, truth.behavioural):
        assert truth.pure - truth.tolerance <= value <= truth.leader_return_max + truth.tolerance


@settings(max_examples=15)
@given(games(most_actions=3, most_rounds=1))
def test_one_round_behavioural_search_agrees_with_the_linear_programs(game: Game) -> None:
    one_shot = dataclasses.replace(game, memory="none")
    remembering = dataclasses.replace(game, memory="opponent")  # plays the same, but is solved by the search
    exact, searched = mixed_commitment(one_shot), behavioural_commitment(remembering)
    assert exact.value >= pure_commitment(one_shot).optimistic - exact.tolerance
    assert searched.value == pytest.approx(exact.value, abs=10 * searched.tolerance)


@pytest.mark.parametrize("name", ["prisoners_dilemma", "deadlock", "prisoners_delight"])
def test_no_sampled_policy_beats_the_resample_optimum(name: str) -> None:
    game = raw(name)
    unit = UnitGame(game)
    protocol = Protocol(unit, best_responses(game).is_best)
    policies = np.random.default_rng(0).dirichlet([0.3, 0.3], (2000, 5))
    assert unit.leader_return(protocol.values(policies).max()) <= resample_commitment(game).value


def test_the_behavioural_policy_is_answered_as_claimed() -> None:
    game = raw("prisoners_dilemma")
    found = behavioural_commitment(game)
    returns = exact_returns(game, found.policy)
    tied = returns[:, FOLLOWER] >= returns[:, FOLLOWER].max() - found.tolerance
    assert returns[tied, LEADER].max() == pytest.approx(found.value, abs=found.tolerance)
