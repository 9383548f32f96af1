"""Memory encodings, tables and returns: hand-computed values, a slow loop, and sampling."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

import slow_play
from slow_play import MEMORIES, random_game, random_policies, random_uniforms
from stackpop.games import (
    FOLLOWER,
    LEADER,
    Game,
    GameBatch,
    Memory,
    all_tables,
    expected_returns,
    named_payoffs,
    parse_payoffs,
    table_index,
    table_returns,
)
from stackpop.games.play import by_policy, play_rounds

PACK_SIZES = (1, 2, 3, 7, 64)
SHAPES = [(2, 2), (3, 2), (2, 3), (1, 2), (2, 1)]


def dilemma(memory: Memory, rounds: int, offset: float = 0.0) -> GameBatch:
    return GameBatch.of([Game(named_payoffs("prisoners_dilemma"), memory, rounds, offset)])


def tables(*actions: int) -> Tensor:
    return torch.tensor([actions])  # [run, state]


# World states in order: the start, then (a, b) with a fastest.
ENCODINGS = {
    (2, 2, "none"): ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    (2, 2, "opponent"): ([0, 1, 1, 2, 2], [0, 1, 2, 1, 2]),
    (2, 2, "joint"): ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    (3, 2, "none"): ([0] * 7, [0] * 7),
    (3, 2, "opponent"): ([0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 3, 1, 2, 3]),
    (3, 2, "joint"): ([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]),
    (1, 1, "opponent"): ([0, 1], [0, 1]),
}


@pytest.mark.parametrize(("rows", "columns", "memory"), ENCODINGS)
def test_players_observe_the_last_round_as_encoded(rows: int, columns: int, memory: Memory) -> None:
    game = Game((((0.0, 0.0),) * columns,) * rows, memory)
    batch = GameBatch.of([game])
    leader, follower = ENCODINGS[rows, columns, memory]
    assert batch.leader_observation.tolist() == leader
    assert batch.follower_observation.tolist() == follower
    assert batch.worlds == len(leader)
    assert batch.leader_states == game.leader_states == max(leader) + 1
    assert batch.follower_states == game.follower_states == max(follower) + 1


@pytest.mark.parametrize(
    ("memory", "states", "contexts"), [("none", (1, 1), 3), ("opponent", (3, 4), 27), ("joint", (7, 7), 2187)]
)
def test_sizes_of_a_three_by_two_game(memory: Memory, states: tuple[int, int], contexts: int) -> None:
    game = Game(parse_payoffs("1,1 1,1 / 1,1 1,1 / 1,1 1,1"), memory, rounds=10)
    assert (game.rows, game.columns) == (3, 2)
    assert (game.leader_states, game.follower_states) == states
    assert game.leader_tables == contexts
    assert game.follower_tables == 2 ** states[FOLLOWER]
    assert game.episode_steps == states[LEADER] + 10


def test_a_published_episode_has_fifteen_or_eight_steps() -> None:
    payoffs = named_payoffs("chicken")
    assert Game(payoffs, "joint", 10).episode_steps == 15
    assert Game(payoffs, "opponent", 5).episode_steps == 8


def test_a_batch_stacks_payoffs_with_their_own_offsets() -> None:
    game = Game(parse_payoffs("1,2 3,4 / 5,6 7,8"), "joint", 3, reward_offset=0.5)
    batch = GameBatch.of([game, dataclasses.replace(game, reward_offset=-1.0)])
    assert batch.runs == 2
    assert batch.payoffs[0].tolist() == [[[1.5, 2.5], [3.5, 4.5]], [[5.5, 6.5], [7.5, 8.5]]]
    assert batch.payoffs[1].tolist() == [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]


@pytest.mark.parametrize("other", [{"rounds": 4}, {"memory": "none"}, {"payoffs": parse_payoffs("1,1 1,1")}])
def test_games_of_unlike_shapes_do_not_stack(other: dict[str, object]) -> None:
    game = Game(named_payoffs("chicken"), "joint", 3)
    with pytest.raises(ValueError, match="share actions, memory and rounds"):
        GameBatch.of([game, dataclasses.replace(game, **other)])  # type: ignore[arg-type]  # one field of each kind


@pytest.mark.parametrize(("states", "actions"), [(1, 2), (3, 2), (5, 2), (2, 3), (3, 1)])
def test_tables_are_listed_lexicographically_and_found_again(states: int, actions: int) -> None:
    listed = all_tables(states, actions)
    assert listed.tolist() == [list(table) for table in itertools.product(range(actions), repeat=states)]
    assert table_index(listed, actions).tolist() == list(range(actions**states))


def test_the_index_of_a_table_reads_as_a_number() -> None:
    assert table_index(torch.tensor([[1, 0, 0, 1, 1], [0, 0, 0, 0, 1]]), 2).tolist() == [0b10011, 1]
    assert table_index(torch.tensor([2, 0, 1]), 3).item() == 2 * 9 + 1


def test_defecting_once_then_tit_for_tat_pays_31_in_the_dilemma() -> None:
    """EXPERIMENTS.md section 6: 4 once and 3 nine times; 6.0 with the offset. The follower earns 1 + 27."""
    leader, follower = tables(1, 0, 0, 1, 1), tables(0, 0, 0, 0, 0)
    assert table_returns(dilemma("joint", 10), leader, follower).tolist() == [[31.0, 28.0]]
    assert table_returns(dilemma("joint", 10, -2.5), leader, follower).tolist() == [[6.0, 3.0]]


def test_tit_for_tat_against_a_follower_that_does_the_opposite() -> None:
    """Rounds (0,1), (1,1), (1,0), (0,0), (0,1) pay the leader 1+2+4+3+1 and the follower 4+2+1+3+4."""
    found = table_returns(dilemma("opponent", 5), tables(0, 0, 1), tables(1, 1, 0))
    assert found.tolist() == [[11.0, 14.0]]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_table_returns_are_those_of_the_slow_loop(shape: tuple[int, int], memory: Memory) -> None:
    generator = torch.Generator().manual_seed(1)
    games = [random_game(generator, *shape, memory, rounds=6, offset=offset) for offset in (-2.5, 0.0, 1.25)]
    leader = torch.randint(games[0].rows, (3, 4, 1, games[0].leader_states), generator=generator)
    follower = torch.randint(games[0].columns, (3, 1, 5, games[0].follower_states), generator=generator)
    found = table_returns(GameBatch.of(games), leader, follower)
    assert found.shape == (3, 4, 5, 2)
    for run, i, j in itertools.product(range(3), range(4), range(5)):
        players = [slow_play.by_table(table.tolist()) for table in (leader[run, i, 0], follower[run, 0, j])]
        assert tuple(found[run, i, j].tolist()) == slow_play.returns(slow_play.play(games[run], *players))


def test_one_set_of_tables_serves_every_run() -> None:
    generator = torch.Generator().manual_seed(2)
    games = [random_game(generator, 2, 2, "opponent", rounds=4) for _ in range(3)]
    every = all_tables(3, 2)
    found = table_returns(GameBatch.of(games), every[None, :, None], every[None, None])
    alone = [table_returns(GameBatch.of([game]), every[None, :, None], every[None, None])[0] for game in games]
    assert torch.equal(found, torch.stack(alone))


def test_expected_return_of_one_round_of_the_dilemma() -> None:
    """P(row 0) = 1/4, P(column 0) = 1/2: leader (3+1)/8 + 3(4+2)/8, follower (3+4)/8 + 3(1+2)/8."""
    leader, follower = torch.tensor([[[0.25, 0.75]]]).double(), torch.tensor([[[0.5, 0.5]]]).double()
    assert expected_returns(dilemma("none", 1), leader, follower).tolist() == [[2.75, 2.0]]
    assert expected_returns(dilemma("none", 2, -2.5), leader, follower).tolist() == [[0.5, -1.0]]


def test_expected_return_depends_on_what_is_remembered() -> None:
    """The follower opens with either action evenly, the leader copies it in the second round.

    Round 1, row 0: (3 + 1) / 2 and (3 + 4) / 2. Round 2, the follower plays column 0: rows 0 and 1 evenly,
    (3 + 4) / 2 and (3 + 1) / 2.
    """
    leader = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]).double()
    follower = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]]).double()
    assert expected_returns(dilemma("opponent", 2), leader, follower).tolist() == [[5.5, 5.5]]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_expected_returns_of_one_hot_policies_are_table_returns(shape: tuple[int, int], memory: Memory) -> None:
    generator = torch.Generator().manual_seed(3)
    games = [random_game(generator, *shape, memory, rounds=5) for _ in range(3)]
    leader = torch.randint(games[0].rows, (3, 6, games[0].leader_states), generator=generator)
    follower = torch.randint(games[0].columns, (3, 6, games[0].follower_states), generator=generator)
    batch = GameBatch.of(games)
    policies = [
        torch.nn.functional.one_hot(table, actions).double()
        for table, actions in ((leader, batch.rows), (follower, batch.columns))
    ]
    assert torch.equal(expected_returns(batch, *policies), table_returns(batch, leader, follower))


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", [(2, 2), (3, 2)])
def test_expected_returns_are_means_of_sampled_play(shape: tuple[int, int], memory: Memory) -> None:
    generator = torch.Generator().manual_seed(4)
    batch = GameBatch.of([random_game(generator, *shape, memory, rounds=4) for _ in range(2)])
    leader = random_policies(generator, 2, batch.leader_states, batch.rows)
    follower = random_policies(generator, 2, batch.follower_states, batch.columns)
    envs = 40_000
    uniforms = random_uniforms(generator, 2, 2, envs, batch.rounds)
    players = (
        by_policy(leader[:, None], batch.leader_observation, uniforms[0]),
        by_policy(follower[:, None], batch.follower_observation, uniforms[1]),
    )
    rounds = play_rounds(batch, envs, *players)
    sampled = torch.stack((rounds.leader_rewards.sum(-1), rounds.follower_rewards.sum(-1)), -1)  # [run, env, player]
    errors = sampled.mean(1) - expected_returns(batch, leader, follower)
    assert (errors.abs() < 4 * sampled.std(1) / envs**0.5).all(), errors


@pytest.mark.parametrize("memory", MEMORIES)
def test_rows_never_mix(memory: Memory) -> None:
    """Unlike games and policies give the same bits alone and in packs of any size."""
    generator = torch.Generator().manual_seed(5)
    most = max(PACK_SIZES)
    games = [random_game(generator, 3, 2, memory, 7, offset=0.1 * run) for run in range(most)]
    whole = GameBatch.of(games)
    leader = random_policies(generator, most, 4, 1, whole.leader_states, 3)
    follower = random_policies(generator, most, 1, 3, whole.follower_states, 2)

    def both(first: int, last: int) -> tuple[Tensor, Tensor]:
        batch, p, q = GameBatch.of(games[first:last]), leader[first:last], follower[first:last]
        return expected_returns(batch, p, q), table_returns(batch, p.argmax(-1), q.argmax(-1))

    alone = [both(run, run + 1) for run in range(most)]
    for size in PACK_SIZES:
        for packed, parts in zip(both(0, size), zip(*alone[:size], strict=True), strict=True):
            assert torch.equal(packed, torch.cat(parts))
