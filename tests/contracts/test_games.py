"""What every named game must do; a new one is tested on the day it is added."""

from __future__ import annotations

import math

import gymnasium
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from stackpop.games import (
    MATRICES,
    Game,
    GameBatch,
    Memory,
    check_payoffs,
    expected_returns,
    named_payoffs,
    table_returns,
)
from stackpop.games.environment import ENV_ID
from stackpop.games.play import play_leader

MEMORIES: list[Memory] = ["none", "opponent", "joint"]
ROUNDS = 4

each_game = pytest.mark.parametrize("name", MATRICES)
each_memory = pytest.mark.parametrize("memory", MEMORIES)
each_commitment = pytest.mark.parametrize("replay", [False, True], ids=["resample", "replay"])


def random_replies(game: Game) -> torch.Tensor:
    """A contextual follower that replies at random, [context, follower_state]."""
    generator = torch.Generator().manual_seed(game.leader_tables)
    return torch.randint(game.columns, (game.leader_tables, game.follower_states), generator=generator)


@each_game
def test_payoffs_are_a_full_table_of_finite_numbers(name: str) -> None:
    payoffs = named_payoffs(name)
    assert check_payoffs(payoffs) == payoffs
    assert {len(row) for row in payoffs} == {len(payoffs[0])}
    assert {len(cell) for row in payoffs for cell in row} == {2}
    assert all(math.isfinite(number) for row in payoffs for cell in row for number in cell)


@each_game
def test_its_name_is_one_word_that_files_and_links_can_carry(name: str) -> None:
    assert name == name.lower()
    assert name.replace("_", "").replace(".", "").isalnum()


@each_game
@each_memory
def test_returns_lie_between_the_worst_and_the_best_payoff_of_every_round(name: str, memory: Memory) -> None:
    game = Game(named_payoffs(name), memory, ROUNDS)
    batch = GameBatch.of([game])
    lowest, highest = (ROUNDS * bound(batch.payoffs[0], dim=(0, 1)) for bound in (torch.amin, torch.amax))  # [player]
    generator = torch.Generator().manual_seed(1)
    leader = torch.rand(1, 50, game.leader_states, game.rows, generator=generator, dtype=torch.float64).softmax(-1)
    follower = torch.rand(1, 50, game.follower_states, game.columns, generator=generator, dtype=torch.float64)
    uniforms = torch.rand(1, 50, game.episode_steps, generator=generator, dtype=torch.float64)
    rounds = play_leader(batch, leader, random_replies(game)[None], uniforms, replay=False).rounds
    for returns in (
        expected_returns(batch, leader, follower.softmax(-1)),
        table_returns(batch, leader.argmax(-1), follower.argmax(-1)),
        torch.stack((rounds.leader_rewards.sum(-1), rounds.follower_rewards.sum(-1)), -1),
    ):
        assert returns.shape == (1, 50, 2)
        assert (returns >= lowest - 1e-9).all()
        assert (returns <= highest + 1e-9).all()


@each_game
@each_memory
@each_commitment
def test_its_environment_passes_gymnasiums_checker(name: str, memory: Memory, replay: bool) -> None:
    """Warnings are errors in this test suite, so passing means passing without any."""
    replies = random_replies(Game(named_payoffs(name), memory))
    env = gymnasium.make(ENV_ID, payoffs=name, replies=replies, memory=memory, rounds=ROUNDS, replay=replay)
    check_env(env.unwrapped)
