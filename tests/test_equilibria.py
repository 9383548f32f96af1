"""Ground truth against published values, hand-known inequalities and a slow reference in plain Python."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpop.equilibria import (
    behavioural_commitment,
    best_responses,
    ground_truth,
    known_commitment,
    known_truth,
    mixed_commitment,
    pure_commitment,
    resample_commitment,
    walked_commitment,
    walked_responses,
)
from stackpop.equilibria.policy_returns import Array, UnitGame, onto_simplex
from stackpop.equilibria.resample import Protocol
from stackpop.errors import SpecError, TooLargeError
from stackpop.games import CANONICAL, FOLLOWER, LEADER, MATRICES, Game, GameBatch, Memory, all_tables, expected_returns
from support import random_payoffs

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
CONITZER_SANDHOLM = (((2.0, 1.0), (4.0, 0.0)), ((1.0, 0.0), (3.0, 1.0)))


def raw(name: str, memory: Memory = "joint", rounds: int = 10) -> Game:
    return Game(MATRICES[name], memory, rounds, reward_offset=0.0)


@st.composite
def games(draw: st.DrawFn, most_actions: int = 2, most_rounds: int = 4) -> Game:
    rows, columns = draw(st.integers(1, most_actions)), draw(st.integers(1, most_actions))
    memories: list[Memory] = ["none", "opponent", "joint"]
    memory = draw(st.sampled_from(memories if rows * columns <= 4 else memories[:2]))
    # Tenths are not exact in binary, so sums in different orders differ by rounding and must still tie.
    payoff = st.integers(-20, 20).map(lambda tenths: tenths / 10)
    payoffs = tuple(tuple((draw(payoff), draw(payoff)) for _ in range(columns)) for _ in range(rows))
    return Game(payoffs, memory, draw(st.integers(1, most_rounds)), draw(payoff))


# --- a slow reference that shares nothing with the code under test ---------------------------------------


def played(game: Game, leader: tuple[int, ...], follower: tuple[int, ...]) -> tuple[float, float]:
    """Returns of one episode, round by round, with the memory encodings written out."""
    totals, last = [0.0, 0.0], None
    for _ in range(game.rounds):
        seen = (0, 0)
        if last is not None and game.memory == "opponent":
            seen = (1 + last[1], 1 + last[0])
        elif last is not None and game.memory == "joint":
            seen = (1 + last[0] + game.rows * last[1],) * 2
        last = (leader[seen[0]], follower[seen[1]])
        for player in (0, 1):
            totals[player] += game.payoffs[last[0]][last[1]][player] + game.reward_offset
    return totals[0], totals[1]


def reference(game: Game) -> list[tuple[float, float, float, tuple[int, ...]]]:
    """For each leader table: the best response's return, the leader's best and worst under it, the response."""
    followers = list(itertools.product(range(game.columns), repeat=game.follower_states))
    answers = []
    for leader in itertools.product(range(game.rows), repeat=game.leader_states):
        returns = [played(game, leader, follower) for follower in followers]
        best = max(r[1] for r in returns)
        tied = [i for i, r in enumerate(returns) if r[1] > best - 1e-9]
        most, least = max(returns[i][0] for i in tied), min(returns[i][0] for i in tied)
        first = next(i for i in tied if returns[i][0] > most - 1e-9)
        answers.append((best, most, least, followers[first]))
    return answers


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=30, deadline=None)
@given(games(), st.data())
def test_no_response_beats_the_best_response(game: Game, data: st.DataObject) -> None:
    best = best_responses(game)
    leader = data.draw(st.tuples(*[st.integers(0, game.rows - 1)] * game.leader_states))
    follower = data.draw(st.tuples(*[st.integers(0, game.columns - 1)] * game.follower_states))
    index = list(itertools.product(range(game.rows), repeat=game.leader_states)).index(leader)
    assert played(game, leader, follower)[FOLLOWER] <= best.follower_return[index] + 1e-9
    assert best.is_best[index, best.response[index]]


@settings(max_examples=30, deadline=None)
@given(games(most_actions=3))
def test_commitment_is_worth_at_least_every_pure_nash(game: Game) -> None:
    pure = pure_commitment(game)
    assert pure.optimistic >= pure.pessimistic
    # To repeat a Nash equilibrium of one round is a commitment, whatever is remembered.
    assert all(pure.optimistic >= game.rounds * value - 1e-9 for value in pure_nash_values(game))


@settings(max_examples=8, deadline=None)
@given(games(most_rounds=3))
def test_stochastic_optima_lie_between_the_pure_optimum_and_the_greatest_return(game: Game) -> None:
    truth = ground_truth(game)
    for value in (truth.resample, truth.behavioural):
        assert truth.pure - truth.tolerance <= value <= truth.leader_return_max + truth.tolerance


@settings(max_examples=15, deadline=None)
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


# --- the machinery -----------------------------------------------------------------------------------------


def exact_returns(game: Game, policy: Array) -> Array:
    """Returns [follower_table, player] by the games' own recursion."""
    replies = torch.nn.functional.one_hot(all_tables(game.follower_states, game.columns), game.columns).double()
    return expected_returns(GameBatch.of([game]), torch.from_numpy(policy)[None, None], replies[None])[0].numpy()


@pytest.mark.parametrize("memory", ["none", "opponent", "joint"])
def test_returns_and_gradients_agree_with_autograd(memory: Memory) -> None:
    game = Game((((3, 1), (0, 2)), ((5, 0), (1, 1)), ((2, 4), (4, 3))), memory, rounds=4)
    unit = UnitGame(game)
    policy = np.random.default_rng(1).dirichlet([1, 1, 1], game.leader_states)
    returns, gradients = unit.returns_and_gradients(policy)
    np.testing.assert_allclose(unit.returns(policy[None])[0], returns, rtol=1e-12)

    variable = torch.from_numpy(policy).requires_grad_()
    replies = torch.nn.functional.one_hot(all_tables(game.follower_states, game.columns), game.columns).double()
    expected = expected_returns(unit.batch, variable[None, None], replies[None])[0]
    for table, player in itertools.product(range(len(returns)), (LEADER, FOLLOWER)):
        (gradient,) = torch.autograd.grad(expected[table, player], variable, retain_graph=True)
        np.testing.assert_allclose(gradients[table, player], gradient.numpy(), atol=1e-12)


def test_protocol_values_and_gradients_agree_with_differences() -> None:
    game = raw("deadlock", "opponent", 5)
    protocol = Protocol(UnitGame(game), best_responses(game).is_best)
    policy = np.random.default_rng(2).dirichlet([1, 1], game.leader_states)
    point = protocol.at(policy)
    assert point.value == pytest.approx(protocol.values(policy[None])[0])
    for state, row in np.ndindex(policy.shape):
        step = np.zeros_like(policy)
        step[state, row] = 1e-6
        slope = (protocol.at(policy + step).value - protocol.at(policy - step).value) / 2e-6
        assert point.gradient[state, row] == pytest.approx(slope, abs=1e-7)


def test_projection_onto_the_simplex_is_the_nearest_point() -> None:
    points = np.random.default_rng(3).normal(size=(50, 3)) * 2
    nearest = onto_simplex(points)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    assert (nearest >= 0).all()
    others = np.random.default_rng(4).dirichlet([1, 1, 1], 500)
    distances = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1)
    assert (np.linalg.norm(points - nearest, axis=1) <= distances + 1e-12).all()


@pytest.mark.parametrize("name", ["prisoners_dilemma", "deadlock"])
def test_values_are_the_same_bits_every_time(name: str) -> None:
    game = Game(MATRICES[name], "opponent", 5)
    first = ground_truth(game)
    torch.rand(7)
    np.random.default_rng().random(7)
    assert repr(ground_truth(game)) == repr(first)


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e290])
def test_values_scale_with_the_payoffs(scale: float) -> None:
    payoffs = tuple(tuple((a * scale, b) for a, b in row) for row in MATRICES["prisoners_delight"])
    plain = ground_truth(raw("prisoners_delight", "opponent", 5))
    scaled = ground_truth(Game(payoffs, "opponent", 5, reward_offset=0.0))
    assert scaled.resample / scale == pytest.approx(plain.resample)
    assert scaled.pure / scale == pytest.approx(plain.pure)


# --- what is refused, and what is not ----------------------------------------------------------------------


@pytest.mark.parametrize("huge", [1e308, math.inf])
def test_payoffs_that_overflow_give_nan(huge: float) -> None:
    truth = ground_truth(Game((((huge, 0), (0, 1)), ((-huge, 1), (1, 0))), "opponent"))
    assert (truth.leader_return_min, truth.leader_return_max) == (-math.inf, math.inf)
    assert sum(map(math.isnan, dataclasses.astuple(truth))) == len(dataclasses.astuple(truth)) - 2


@pytest.mark.parametrize(
    ("rows", "columns", "memory", "rounds"),
    [(2, 2, "joint", 7), (3, 2, "opponent", 6), (2, 3, "opponent", 4), (3, 3, "opponent", 3), (2, 4, "none", 5)],
)
def test_walking_through_episodes_finds_what_all_pairs_of_tables_do(
    rows: int, columns: int, memory: Memory, rounds: int
) -> None:
    payoffs = random_payoffs(1, rows, columns)
    indifferent = tuple(tuple((leader, 0.0) for leader, _ in row) for row in payoffs)
    for game in (Game(payoffs, memory, rounds), Game(indifferent, memory, rounds)):
        best, tables = best_responses(game), all_tables(game.leader_states, game.rows).numpy()
        walked = walked_responses(game, tables)
        for name in ("follower_return", "leader_optimistic", "leader_pessimistic"):
            np.testing.assert_array_equal(getattr(walked, name), getattr(best, name))
        pure = pure_commitment(game, best)
        assert walked_commitment(game) == pure
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stackpop.equilibria.walks.REPLIES_AT_ONCE", 10)
            assert walked_commitment.__wrapped__(game) == pure  # a few leader tables at a time


def test_the_leader_tables_of_a_larger_game_are_not_all_in_memory() -> None:
    """1.6 million of 13 states: as numbers they weigh 166 MB, and as tuples on the way there as much again."""
    game = Game(random_payoffs(1, 3, 4), "joint", 1)
    tracemalloc.start()
    try:
        found = walked_commitment(game)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    one_shot = pure_commitment(Game(game.payoffs, "none", 1))
    assert found.optimistic == one_shot.optimistic
    assert found.leader_table == (*one_shot.leader_table, *[0] * 12)
    assert found.follower_table == (*one_shot.follower_table, *[0] * 12)


def test_a_larger_game_has_a_known_pure_equilibrium() -> None:
    """3x3 with joint memory: follower tables are too many for all pairs, the ways an episode can go are not."""
    dilemma = (((3, 3), (0, 4), (0, 0)), ((4, 0), (1, 1), (0, 0)), ((0, 0), (0, 0), (0.5, 0.5)))
    game = Game(dilemma, "joint", 3, reward_offset=0.0)
    with pytest.raises(TooLargeError):
        ground_truth(game)
    truth = known_truth(game)
    assert truth.pure == truth.pure_pessimistic == 9
    # In so few rounds the third action, a threat, is worth nothing: the dilemma without it pays as much.
    without = Game(tuple(row[:2] for row in dilemma[:2]), "joint", 3, reward_offset=0.0)
    assert pure_commitment(without).optimistic == truth.pure
    assert (truth.leader_return_min, truth.leader_return_max) == (0, 12)
    assert math.isnan(truth.resample)
    assert math.isnan(truth.behavioural)
    found = known_commitment(game)
    assert (found.optimistic, found.pessimistic) == (9, 9)
    assert repr(known_truth(raw("chicken"))) == repr(ground_truth(raw("chicken")))
    assert known_commitment(raw("chicken")) == pure_commitment(raw("chicken"))


@pytest.mark.parametrize("actions", [4, 200])
def test_a_game_too_large_to_walk_through_is_left_unknown_at_once(actions: int) -> None:
    game = Game((((0.0, 1.0),) * actions,) * actions, "joint")
    started = time.perf_counter()
    truth = known_truth(game)
    assert time.perf_counter() - started < 1
    assert math.isnan(truth.pure)
    assert truth.leader_return_max == -25
    with pytest.raises(TooLargeError, match=r"walk through, got about 10\^.* ways that an episode can go"):
        known_commitment(game)


@pytest.mark.parametrize(("memory", "rounds"), [("none", 2), ("joint", 1)])
def test_mixed_commitment_is_for_one_shot_games(memory: Memory, rounds: int) -> None:
    with pytest.raises(SpecError, match=f"expected one round and memory 'none', got {rounds} rounds"):
        mixed_commitment(Game(CONITZER_SANDHOLM, memory, rounds))


@pytest.mark.parametrize("solve", [best_responses, pure_commitment, resample_commitment, ground_truth])
@pytest.mark.parametrize("actions", [3, 200])
def test_a_game_too_large_is_refused_at_once(solve: Callable[[Game], object], actions: int) -> None:
    game = Game((((0.0, 0.0),) * actions,) * actions, "joint")
    started = time.perf_counter()
    with pytest.raises(TooLargeError) as refused:
        solve(game)
    assert time.perf_counter() - started < 1
    shape, tables = f"{actions}x{actions}", f"{actions}^{1 + actions**2} leader tables"
    assert all(part in str(refused.value) for part in (shape, "'joint'", tables, "smaller memory"))


def test_a_search_too_large_is_refused_while_the_pure_optimum_is_found() -> None:
    game = Game((((0.0, 0.0),) * 40,) * 40, "none", rounds=1, reward_offset=0.0)
    assert pure_commitment(game).optimistic == mixed_commitment(game).value == 0
    with pytest.raises(TooLargeError, match=r"40x40 game .* pure commitment only"):
        resample_commitment(game)
    truth = ground_truth(game)
    assert math.isnan(truth.resample)
    assert truth.pure == truth.mixed == truth.behavioural == 0
