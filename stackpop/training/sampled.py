"""What pairs are worth where contexts are too many to enumerate: means over evaluation episodes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, evaluate_answers, in_blocks, mean_returns
from stackpop.games import GameBatch
from stackpop.games.play import asked_and_played, by_table, committed_leader, play_rounds
from stackpop.learners import Streams

# Followers' replies [run, env, follower_state] to answers [run, env, leader_state].
Query = Callable[[Tensor], Tensor]


def sampled_curves(
    game: GameBatch,
    truth: ExactValues,
    policies: Tensor,
    query: Query,
    streams: Streams,
    episodes: int,
    *,
    replay: bool,
) -> dict[str, Tensor]:
    """Curves [run, iteration] of recorded policies [run, iteration, state, action], as far as they are known.

    Given an episode's answers, returns are exact, so that fewer episodes are needed than for the sampled returns.
    """

    def sampled(policy: Tensor) -> dict[str, Tensor]:
        uniforms = streams.uniform(policy.shape[1], episodes, game.leader_states + game.rounds)
        return _curves(game, policy, query, uniforms, replay=replay)

    curves = in_blocks(sampled, game.runs * (episodes + 1) * game.worlds * game.rows * game.columns, policies)
    if truth.knows_equilibrium:
        curves["equilibrium_gap"] = truth.equilibrium[:, None] - curves["leader_return"]
    return curves


def _curves(game: GameBatch, policy: Tensor, query: Query, uniforms: Tensor, *, replay: bool) -> dict[str, Tensor]:
    """Returns [run, iteration] of policies [run, iteration, state, action].

    uniforms: [run, iteration, env, leader_state + round].
    """
    runs, iterations, envs, _ = uniforms.shape
    # Each iteration of a run is a game of its own.
    flat = game.repeat(iterations)
    answers, leader = committed_leader(flat, policy.flatten(0, 1)[:, None], uniforms.flatten(0, 1), replay=replay)
    asked, _ = asked_and_played(policy, game.leader_states)
    # All episodes of a run, then its greedy answers, in one query.
    given = answers.reshape(runs, iterations * envs, -1)
    replies = query(torch.cat([given, asked.argmax(-1)], 1))
    by_episode, greedy = replies[:, : iterations * envs], replies[:, iterations * envs :]
    follower = by_table(by_episode.reshape(runs * iterations, envs, -1), game.follower_observation)
    rounds = play_rounds(flat, envs, leader, follower)
    answers, by_episode = (x.reshape(runs, iterations, envs, -1) for x in (answers, by_episode))
    curves = evaluate_answers(game, policy, answers, by_episode, greedy, replay=replay)
    return curves | mean_returns(rounds, runs)
