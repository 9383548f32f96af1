"""Exact and sampled values of recorded policies, beside plain Python that follows every possible episode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from stackpop.equilibria import pure_commitment
from stackpop.evaluation import (
    BLOCK_ENTRIES,
    ExactValues,
    blocks,
    context_chances,
    evaluate,
    mean_return,
    sampled_returns,
)
from stackpop.games import (
    Game,
    GameBatch,
    Memory,
    all_tables,
    expected_returns,
    named_payoffs,
    policy_table_returns,
)
from support import random_payoffs, random_policy

# Rows and columns differ where the game stays small, so that no two axes can be confused.
SHAPES: list[tuple[Memory, int, int, int]] = [("none", 3, 2, 3), ("opponent", 2, 3, 3), ("joint", 2, 2, 2)]
RUNS, ITERATIONS = 2, 3

each_shape = pytest.mark.parametrize(("memory", "rows", "columns", "rounds"), SHAPES, ids=[s[0] for s in SHAPES])
each_commitment = pytest.mark.parametrize("replay", [False, True], ids=["resample", "replay"])

Table = Sequence[int]
Policy = Sequence[Sequence[float]]


def small_games(memory: Memory, rows: int, columns: int, rounds: int) -> list[Game]:
    return [Game(random_payoffs(seed, rows, columns), memory, rounds, reward_offset=0.3) for seed in range(RUNS)]


def pairs(games: list[Game]) -> tuple[Tensor, Tensor]:
    """Random policies [run, iteration, state, row] and random replies [run, iteration, context, state]."""
    generator = torch.Generator().manual_seed(1)
    game = games[0]
    policy = random_policy(generator, RUNS, ITERATIONS, game.leader_states, game.rows)
    shape = (RUNS, ITERATIONS, game.leader_tables, game.follower_states)
    return policy, torch.randint(game.columns, shape, generator=generator)


def follow(game: Game, policy: Policy, reply: Table) -> tuple[float, float]:
    """Both players' expected returns, by following every course a game can take."""

    def observed(last: tuple[int, int] | None) -> tuple[int, int]:
        if last is None or game.memory == "none":
            return 0, 0
        row, column = last
        joint = 1 + row + game.rows * column
        return (joint, joint) if game.memory == "joint" else (1 + column, 1 + row)

    def onwards(rounds: int, last: tuple[int, int] | None) -> tuple[float, float]:
        if rounds == 0:
            return 0.0, 0.0
        leader_state, follower_state = observed(last)
        column, leader, follower = reply[follower_state], 0.0, 0.0
        for row, chance in enumerate(policy[leader_state]):
            ahead = onwards(rounds - 1, (row, column))
            pays = game.payoffs[row][column]
            leader += chance * (pays[0] + game.reward_offset + ahead[0])
            follower += chance * (pays[1] + game.reward_offset + ahead[1])
        return leader, follower

    return onwards(game.rounds, None)


def pure(table: Table, rows: int) -> Policy:
    return [[float(row == action) for row in range(rows)] for action in table]


def over_answers(policy: Policy, value: Callable[[int, Table], float]) -> float:
    """The expectation over all query answers, given by number and table, of a value."""
    answers = itertools.product(*(range(len(row)) for row in policy))
    return sum(
        math.prod(row[a] for row, a in zip(policy, answer, strict=True)) * value(context, answer)
        for context, answer in enumerate(answers)
    )


def by_brute_force(
    game: Game, policy: Policy, replies: Sequence[Table], replay: bool, asked: Policy | None = None
) -> dict[str, float]:
    """asked: what answers the queries, if it is not the policy itself."""
    asked = asked or policy

    def played(answer: Table) -> Policy:
        return pure(answer, game.rows) if replay else policy

    def best(leader: Policy) -> float:
        tables = itertools.product(range(game.columns), repeat=game.follower_states)
        return max(follow(game, leader, table)[1] for table in tables)

    greedy, answers = ([row.index(max(row)) for row in map(list, each)] for each in (policy, asked))
    context = int(np.ravel_multi_index(answers, [game.rows] * len(answers)))
    greedy_returns = follow(game, pure(greedy, game.rows), replies[context])
    leader, follower = (
        over_answers(asked, lambda c, answer, p=player: follow(game, played(answer), replies[c])[p])  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        for player in (0, 1)
    )
    best_return = over_answers(asked, lambda _, answer: best(pure(answer, game.rows))) if replay else best(policy)
    return {
        "leader_return": leader,
        "follower_return": follower,
        "leader_return_greedy": greedy_returns[0],
        "follower_return_greedy": greedy_returns[1],
        "equilibrium_gap": pure_commitment(game).optimistic - leader,
        "follower_regret": best_return - follower,
    }


@each_shape
@each_commitment
def test_exact_values_are_those_of_following_every_episode(
    memory: Memory, rows: int, columns: int, rounds: int, replay: bool
) -> None:
    games = small_games(memory, rows, columns, rounds)
    policy, replies = pairs(games)
    found = evaluate(GameBatch.of(games), ExactValues.of(games), policy, replies, replay=replay)
    for run, iteration in itertools.product(range(RUNS), range(ITERATIONS)):
        place = run, iteration
        expected = by_brute_force(games[run], policy[place].tolist(), replies[place].tolist(), replay)
        assert {name: curve[place].item() for name, curve in found.items()} == pytest.approx(expected, abs=1e-12)


@each_shape
def test_a_leader_with_a_query_bit_is_asked_in_other_states_than_it_plays_in(
    memory: Memory, rows: int, columns: int, rounds: int
) -> None:
    """First come the states of play, then those of the queries."""
    games = small_games(memory, rows, columns, rounds)
    played, replies = pairs(games)
    asked = random_policy(torch.Generator().manual_seed(2), *played.shape)
    policy = torch.cat([played, asked], 2)
    found = evaluate(GameBatch.of(games), ExactValues.of(games), policy, replies, replay=False)
    for place in itertools.product(range(RUNS), range(ITERATIONS)):
        given = played[place].tolist(), replies[place].tolist(), False, asked[place].tolist()
        expected = by_brute_force(games[place[0]], *given)
        assert {name: curve[place].item() for name, curve in found.items()} == pytest.approx(expected, abs=1e-12)


@each_shape
@each_commitment
def test_an_iteration_axis_of_length_one_stands_for_all(
    memory: Memory, rows: int, columns: int, rounds: int, replay: bool
) -> None:
    games = small_games(memory, rows, columns, rounds)
    batch, truth = GameBatch.of(games), ExactValues.of(games)
    policy, replies = pairs(games)
    uniforms = torch.rand(RUNS, ITERATIONS, 8, games[0].episode_steps, dtype=torch.float64)
    for p, r in ((policy[:, :1], replies), (policy, replies[:, :1])):
        full = p.expand_as(policy).contiguous(), r.expand_as(replies).contiguous()
        found, expected = (evaluate(batch, truth, *pair, replay=replay) for pair in ((p, r), full))
        for name, curve in expected.items():
            assert torch.equal(found[name], curve), name
        sampled, whole = (sampled_returns(batch, *pair, uniforms, replay=replay) for pair in ((p, r), full))
        for name, curve in whole.items():
            assert torch.equal(sampled[name], curve), name


@each_shape
@each_commitment
def test_sampled_returns_estimate_the_exact_ones(
    memory: Memory, rows: int, columns: int, rounds: int, replay: bool
) -> None:
    games = small_games(memory, rows, columns, rounds)
    batch = GameBatch.of(games)
    policy, replies = pairs(games)
    envs = 20_000
    generator = torch.Generator().manual_seed(2)
    uniforms = torch.rand(RUNS, ITERATIONS, envs, games[0].episode_steps, generator=generator, dtype=torch.float64)
    exact = evaluate(batch, ExactValues.of(games), policy, replies, replay=replay)
    found = sampled_returns(batch, policy, replies, uniforms, replay=replay)
    width = (batch.payoffs.amax((1, 2)) - batch.payoffs.amin((1, 2))) * rounds  # [run, player]
    for player, name in enumerate(("leader_return", "follower_return")):
        # Returns within a range of width w have a standard deviation of at most w / 2.
        bound = 5 * width[:, None, player] / 2 / envs**0.5
        sampled = found[f"{name}_sampled"]
        assert ((sampled - exact[name]).abs() < bound).all()
        assert not torch.equal(sampled, exact[name])


def test_a_mean_return_sums_rounds_and_averages_episodes() -> None:
    rewards = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [-1.0, 0.5]]], dtype=torch.float64)
    assert mean_return(rewards).tolist() == [5.0, -0.25]


@each_shape
def test_returns_against_all_follower_tables(memory: Memory, rows: int, columns: int, rounds: int) -> None:
    games = small_games(memory, rows, columns, rounds)
    batch = GameBatch.of(games)
    policy, _ = pairs(games)
    tables = torch.nn.functional.one_hot(all_tables(batch.follower_states, columns), columns).double()
    expected = expected_returns(batch, policy[:, :, None], tables[None, None])
    torch.testing.assert_close(policy_table_returns(batch, policy), expected, rtol=1e-12, atol=1e-12)


def test_context_chances_are_a_distribution_over_all_answers() -> None:
    policy = random_policy(torch.Generator().manual_seed(1), RUNS, ITERATIONS, 3, 4)
    chances = context_chances(policy)
    assert chances.shape == (RUNS, ITERATIONS, 4**3)
    torch.testing.assert_close(chances.sum(-1), torch.ones(RUNS, ITERATIONS, dtype=torch.float64))
    one = policy[1, 2]
    assert chances[1, 2, 16 * 3 + 4 * 0 + 2] == pytest.approx((one[0, 3] * one[1, 0] * one[2, 2]).item())


def test_exact_values_of_the_prisoners_dilemma() -> None:
    """31 less 10 times 2.5 at the equilibrium; against tit-for-tat after one defection the follower earns 28."""
    truth = ExactValues.of([Game(named_payoffs("prisoners_dilemma"))] * 2)
    assert truth.equilibrium.tolist() == [6.0, 6.0]
    assert truth.best_response.shape == (2, 32)
    table = int("10011", 2)
    assert truth.best_response[0, table] == 28 - 25


def test_followers_are_judged_by_all_leader_tables_where_these_are_few() -> None:
    """2x4 with joint memory: 512 leader tables, and 262,144 of the follower's, of which not all are played."""
    game = Game(random_payoffs(1, 2, 4), "joint", 2)
    truth = ExactValues.of([game])
    assert not truth.enumerated
    assert torch.equal(truth.answers, all_tables(9, 2))
    for number in (0, 100, 511):
        leader = truth.answers[number].tolist()
        # Of two rounds: the follower's first action leads to one state, and there it takes another.
        seen = {first: 1 + leader[0] + 2 * first for first in range(4)}
        most = max(
            game.payoffs[leader[0]][first][1] + game.payoffs[leader[state]][second][1] - 5
            for first, state in seen.items()
            for second in range(4)
        )
        assert truth.best_response[0, number].item() == pytest.approx(most)


def test_followers_are_judged_by_the_same_sample_in_all_games_of_a_shape() -> None:
    games = [Game(random_payoffs(seed, 3, 3), "joint", 2) for seed in (1, 2)]
    one, other = (ExactValues.of([game]) for game in games)
    assert one.answers.shape == (64, 10)
    assert len(one.answers.unique(dim=0)) == 64
    assert torch.equal(one.answers, other.answers)
    assert one.knows_equilibrium
    assert one.knows_best_response
    assert one.answers.float().mean((0, 1)).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("iterations", [1, 7, 500])
@pytest.mark.parametrize("entries", [1, 5000, BLOCK_ENTRIES, 10 * BLOCK_ENTRIES])
def test_blocks_cover_every_iteration_once_and_stay_small(iterations: int, entries: int) -> None:
    found = list(blocks(iterations, entries))
    assert [i for block in found for i in range(iterations)[block]] == list(range(iterations))
    assert all(block.stop - block.start <= max(1, BLOCK_ENTRIES // entries) for block in found)
