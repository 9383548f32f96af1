"""Values of pairs whose contexts are not enumerated, beside the exact ones in games small enough for both."""

from __future__ import annotations

import pytest
import torch

from stackpop.evaluation import ExactValues, evaluate, sampled_returns
from stackpop.games import Game, GameBatch, Memory, table_index
from stackpop.games.play import at_context
from stackpop.learners import Phase, Streams
from stackpop.training.sampled import sampled_curves
from support import random_payoffs, random_policy

RUNS, ITERATIONS, EPISODES = 2, 3, 4000
SEEDS = (1, 2)


@pytest.mark.parametrize(("memory", "rows", "columns"), [("none", 3, 2), ("opponent", 2, 3), ("joint", 2, 2)])
@pytest.mark.parametrize("commitment", ["replay", "resample", "query bit"])
def test_means_over_sampled_answers_are_close_to_the_exact_values(
    memory: Memory, rows: int, columns: int, commitment: str
) -> None:
    """Against followers that reply at random, but otherwise to every context; the greedy values are the same."""
    games = [Game(random_payoffs(seed, rows, columns), memory, 3, reward_offset=0.3) for seed in SEEDS]
    batch, truth, replay = GameBatch.of(games), ExactValues.of(games), commitment == "replay"
    generator, states = torch.Generator().manual_seed(1), games[0].leader_states
    policies = random_policy(generator, RUNS, ITERATIONS, states * (2 if commitment == "query bit" else 1), rows)
    contexts = (RUNS, games[0].leader_tables, games[0].follower_states)
    replies = torch.randint(columns, contexts, generator=generator)
    exact = evaluate(batch, truth, policies, replies[:, None], replay=replay)
    found = sampled_curves(
        batch,
        truth,
        policies,
        lambda answers: at_context(replies, table_index(answers, rows)),
        Streams(SEEDS, Phase.LEADER_EVALUATION),
        EPISODES,
        replay=replay,
    )
    uniforms = Streams(SEEDS, Phase.LEADER_EVALUATION).uniform(ITERATIONS, EPISODES, states + 3)
    sampled = sampled_returns(batch, policies, replies[:, None], uniforms, replay=replay)
    torch.testing.assert_close({name: found[name] for name in sampled}, sampled)
    for name in ("leader_return_greedy", "follower_return_greedy"):
        torch.testing.assert_close(found[name], exact[name])
    width = (batch.payoffs.amax((1, 2)) - batch.payoffs.amin((1, 2))) * 3  # [run, player]
    for player, name in enumerate(("leader_return", "follower_return")):
        # Returns within a range of width w have a standard deviation of at most w / 2.
        bound = 5 * width[:, None, player] / 2 / EPISODES**0.5
        assert ((found[name] - exact[name]).abs() < bound).all()
    torch.testing.assert_close(found["equilibrium_gap"], truth.equilibrium[:, None] - found["leader_return"])
    if memory != "none" and not replay:  # exact given the answers, they need fewer episodes than sampled play does
        names = "leader_return", "leader_return_sampled"
        error, of_play = (found[name] - exact["leader_return"] for name in names)
        assert error.abs().mean() < of_play.abs().mean()
