"""Sampled play against hand-computed values, frequencies and a slow loop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

import slow_play
from slow_play import MEMORIES, SlowRound, random_game, random_policies, random_uniforms
from stackpop.games import GameBatch, Memory, table_index
from stackpop.games.play import (
    LeaderEpisodes,
    Rounds,
    at_context,
    by_policy,
    by_table,
    play_leader,
    play_on,
    play_rounds,
    returns_to_go,
    sample_actions,
)

PACK_SIZES = (1, 2, 3, 7, 64)
SHAPES = [(2, 2), (3, 2), (2, 3)]
LAST_BELOW_ONE = 1 - 2**-53


def agree(rounds: Rounds, run: int, env: int, rows: int, slow: list[SlowRound]) -> None:
    assert rounds.worlds[run, env].tolist() == [r.world for r in slow]
    assert rounds.outcomes[run, env].tolist() == [r.a + rows * r.b for r in slow]
    assert rounds.leader_actions[run, env].tolist() == [r.a for r in slow]
    assert rounds.follower_actions[run, env].tolist() == [r.b for r in slow]
    assert rounds.leader_rewards[run, env].tolist() == [r.leader_reward for r in slow]
    assert rounds.follower_rewards[run, env].tolist() == [r.follower_reward for r in slow]


def test_an_action_is_where_its_uniform_falls() -> None:
    policy = torch.tensor([0.25, 0.5, 0.25]).double()
    uniforms = torch.tensor([0.0, 0.249, 0.25, 0.749, 0.75, LAST_BELOW_ONE]).double()
    assert sample_actions(policy, uniforms).tolist() == [0, 0, 1, 1, 2, 2]


def test_an_impossible_action_is_never_drawn() -> None:
    policy = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).double()
    for u in (0.0, 0.5, LAST_BELOW_ONE):
        assert sample_actions(policy, torch.full((3,), u, dtype=torch.float64)).tolist() == [0, 1, 2]


def test_actions_come_as_often_as_the_policy_says() -> None:
    generator = torch.Generator().manual_seed(1)
    policy, draws = random_policies(generator, 4, 3), 100_000
    actions = sample_actions(policy, random_uniforms(generator, draws, 4))
    frequencies = torch.nn.functional.one_hot(actions, 3).double().mean(0)
    assert ((frequencies - policy).abs() < 4 * (policy * (1 - policy) / draws).sqrt()).all()


def test_returns_to_go_sum_what_is_still_to_come() -> None:
    assert returns_to_go(torch.tensor([[1.0, 2.0, 4.0], [0.5, -1.0, 0.25]])).tolist() == [
        [7.0, 6.0, 4.0],
        [-0.25, -0.75, 0.25],
    ]


def test_each_episode_gets_its_own_context() -> None:
    by_context = torch.tensor([[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]])  # [run, context, state]
    picked = at_context(by_context, torch.tensor([[2, 0], [1, 1]]))
    assert picked.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_players_may_give_actions_they_keep() -> None:
    generator = torch.Generator().manual_seed(2)
    batch = GameBatch.of([random_game(generator, 2, 2, "joint", rounds=3)])
    script = np.array([[0], [1], [1]])  # [round, episode], both players' actions
    rounds = play_rounds(batch, 1, *[lambda t, _: script[t]] * 2)
    assert rounds.outcomes.tolist() == [[[0, 3, 3]]]
    assert script.tolist() == [[0], [1], [1]]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rounds_are_those_of_the_slow_loop(shape: tuple[int, int], memory: Memory) -> None:
    """A leader that follows tables against a follower that samples."""
    generator = torch.Generator().manual_seed(3)
    runs, envs = 3, 4
    games = [random_game(generator, *shape, memory, rounds=6) for _ in range(runs)]
    batch = GameBatch.of(games)
    tables = torch.randint(batch.rows, (runs, envs, batch.leader_states), generator=generator)
    policy = random_policies(generator, runs, envs, batch.follower_states, batch.columns)
    uniforms = random_uniforms(generator, runs, envs, batch.rounds)
    leader = by_table(tables, batch.leader_observation)
    rounds = play_rounds(batch, envs, leader, by_policy(policy, batch.follower_observation, uniforms))
    for run, env in itertools.product(range(runs), range(envs)):
        table, chances, draws = (x[run, env].tolist() for x in (tables, policy, uniforms))
        slow = slow_play.play(games[run], slow_play.by_table(table), slow_play.by_policy(chances, draws))
        agree(rounds, run, env, batch.rows, slow)


def test_play_can_stop_and_go_on() -> None:
    generator = torch.Generator().manual_seed(4)
    batch = GameBatch.of([random_game(generator, 3, 2, "opponent", rounds=5) for _ in range(2)])
    policies = [random_policies(generator, 2, 1, batch.leader_states, 3), random_policies(generator, 2, 1, 4, 2)]
    observations = batch.leader_observation, batch.follower_observation
    draws = random_uniforms(generator, 2, 2, 6, batch.rounds)
    leader, follower = (by_policy(*of_player) for of_player in zip(policies, observations, draws, strict=True))
    whole = play_rounds(batch, 6, leader, follower)
    first = play_on(batch, torch.zeros(2, 6, 1, dtype=torch.int64), leader, follower, range(2))
    rest = play_on(batch, first.last_worlds, leader, follower, range(2, 5))
    for name in ("worlds", "outcomes", "leader_rewards", "follower_rewards"):
        assert torch.equal(getattr(whole, name), torch.cat((getattr(first, name), getattr(rest, name)), -1))


def test_players_with_one_action_always_take_it() -> None:
    generator = torch.Generator().manual_seed(5)
    batch = GameBatch.of([random_game(generator, 1, 1, "joint", rounds=3)])
    certain = torch.ones(1, batch.leader_states, 1, dtype=torch.float64)
    replies = torch.zeros(1, 1, batch.follower_states, dtype=torch.int64)
    episodes = play_leader(batch, certain[:, None], replies, random_uniforms(generator, 1, 4, 2 + 3), replay=False)
    assert episodes.answers.eq(0).all()
    assert episodes.rounds.worlds.tolist() == [[[0, 1, 1]] * 4]


def leader_episodes(
    generator: torch.Generator, batch: GameBatch, envs: int, *, replay: bool
) -> tuple[Tensor, Tensor, Tensor, LeaderEpisodes]:
    """Episodes of random policies against random followers: policy, replies, uniforms, episodes."""
    policy = random_policies(generator, batch.runs, batch.leader_states, batch.rows)
    contexts = batch.rows**batch.leader_states
    replies = torch.randint(batch.columns, (batch.runs, contexts, batch.follower_states), generator=generator)
    uniforms = random_uniforms(generator, batch.runs, envs, batch.leader_states + batch.rounds)
    return policy, replies, uniforms, play_leader(batch, policy[:, None], replies, uniforms, replay=replay)


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_leader_episodes_are_those_of_the_slow_loop(shape: tuple[int, int], memory: Memory, replay: bool) -> None:
    generator = torch.Generator().manual_seed(6)
    games = [random_game(generator, *shape, memory, rounds=5) for _ in range(3)]
    batch = GameBatch.of(games)
    policy, replies, uniforms, episodes = leader_episodes(generator, batch, 4, replay=replay)
    states = batch.leader_states
    for run, env in itertools.product(range(3), range(4)):
        chances, draws = policy[run].tolist(), uniforms[run, env].tolist()
        answers = [slow_play.sampled(chances[state], draws[state]) for state in range(states)]
        assert episodes.answers[run, env].tolist() == answers
        context = int("".join(map(str, answers)), base=max(2, batch.rows))
        leader = slow_play.by_table(answers) if replay else slow_play.by_policy(chances, draws[states:])
        slow = slow_play.play(games[run], leader, slow_play.by_table(replies[run, context].tolist()))
        agree(episodes.rounds, run, env, batch.rows, slow)


def test_replay_repeats_the_answers_and_resample_does_not() -> None:
    generator = torch.Generator().manual_seed(7)
    batch = GameBatch.of([random_game(generator, 2, 2, "joint", rounds=10)])
    for replay in (True, False):
        *_, episodes = leader_episodes(generator, batch, 50, replay=replay)
        observed = batch.leader_observation[episodes.rounds.worlds]
        repeated = episodes.answers.gather(-1, observed).eq(episodes.rounds.outcomes % 2)
        assert repeated.all() == replay


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("memory", MEMORIES)
def test_rows_never_mix(memory: Memory, replay: bool) -> None:
    """Unlike games, policies, followers and uniforms give the same bits alone and in packs of any size."""
    generator = torch.Generator().manual_seed(8)
    most = max(PACK_SIZES)
    games = [random_game(generator, 3, 2, memory, rounds=6, offset=0.1 * run) for run in range(most)]
    policy, replies, uniforms, _ = leader_episodes(generator, GameBatch.of(games), 5, replay=replay)

    def parts(first: int, last: int) -> tuple[Tensor, ...]:
        pack = slice(first, last)
        batch = GameBatch.of(games[pack])
        episodes = play_leader(batch, policy[pack, None], replies[pack], uniforms[pack], replay=replay)
        rounds = episodes.rounds
        contexts = table_index(episodes.answers, batch.rows)
        to_go = [returns_to_go(rewards) for rewards in (rounds.leader_rewards, rounds.follower_rewards)]
        return episodes.answers, contexts, rounds.worlds, rounds.outcomes, *to_go

    alone = [parts(run, run + 1) for run in range(most)]
    for size in PACK_SIZES:
        for packed, single in zip(parts(0, size), zip(*alone[:size], strict=True), strict=True):
            assert torch.equal(packed, torch.cat(single))
