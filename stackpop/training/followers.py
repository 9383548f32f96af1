"""Pretrain contextual followers against random leaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, mean_return
from stackpop.games import FOLLOWER, GameBatch, all_tables, table_returns
from stackpop.games.play import Rounds, by_policy, by_table, look_up, play_rounds, returns_to_go
from stackpop.learners import (
    ContextualFollower,
    ContextualSettings,
    Phase,
    Streams,
    fresh_parameters,
    make_followers,
    whole_episodes,
)
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec
from stackpop.training.packs import Arrays, timed

LEARNED = ("follower_logits", "follower_parameters")


def train_followers(specs: Sequence[FollowerSpec]) -> list[TrainingResult]:
    """Pretrain a pack of contextual followers against uniformly random leader tables.

    Results hold, along their own iteration axis, `follower_regret_sum` and `follower_regret_worst` (the
    greedy follower's shortfall, summed over and worst of all leader tables), `follower_return` (its exact
    mean over them), `follower_return_sampled` (of evaluation episodes of the stochastic follower) and
    `env_steps`; and what it `learned` and the number of `updates` made. Where the leader tables are too many to
    enumerate, a sample stands for them, and where best responses are too many to find, there are no regrets.
    """
    return timed(_pretrain, specs)


def learned(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a trained follower learned: logits [context, state, action], or a network's parameters [parameter]."""
    return next(arrays[name] for name in LEARNED if name in arrays)


def _pretrain(specs: Sequence[FollowerSpec]) -> list[Arrays]:
    """Curves and what was learned of a pack of followers of one shape."""
    settings, games = specs[0].follower, [spec.to_game() for spec in specs]
    game, truth = GameBatch.of(games), ExactValues.of(games)
    seeds = [spec.seed for spec in specs]
    start = fresh_parameters(settings, game, Streams(seeds, Phase.FOLLOWER_INIT))
    follower = make_followers([spec.follower for spec in specs], start, game)
    judged = follower.contexts(truth.answers[None])
    streams, evaluation = Streams(seeds, Phase.FOLLOWER_TRAINING), Streams(seeds, Phase.FOLLOWER_EVALUATION)
    envs, episodes = whole_episodes(settings.batch_steps, games[0].episode_steps), specs[0].evaluation_episodes
    draws = _table_draws(game, settings) + game.rounds
    may_stop = settings.early_stop and truth.enumerated
    updates = torch.full((len(specs),), settings.updates)
    parameters = torch.empty_like(follower.parameters)
    training = torch.ones(len(specs), dtype=torch.bool)
    curves: list[dict[str, Tensor]] = []
    for iteration in range(1, settings.updates + 1):
        learn(game, follower, *_random_leader_rounds(game, follower, streams.uniform(envs, draws)))
        shortfall, returns = _shortfall(game, truth, follower.replies_at(judged))
        sampled = _random_leader_rounds(game, follower, evaluation.uniform(episodes, draws))[1]
        curves.append(_curves(truth, shortfall, returns, sampled))
        finished = training & (may_stop & (shortfall <= 0).all(-1))
        parameters[finished], updates[finished] = follower.parameters[finished], iteration
        training &= ~finished
        if not training.any():
            break
    parameters[training] = follower.parameters[training]
    steps = envs * games[0].episode_steps
    stacked = {name: torch.stack([each[name] for each in curves], 1).numpy() for name in curves[0]}
    return [
        {
            **{name: values[row, :n] for name, values in stacked.items()},
            "env_steps": steps * np.arange(1, n + 1),
            settings.stored_as: parameters[row].numpy().copy(),
            "updates": np.array(n),
        }
        for row, n in enumerate(updates.tolist())
    ]


def _curves(truth: ExactValues, shortfall: Tensor, returns: Tensor, sampled: Rounds) -> dict[str, Tensor]:
    """One point of each curve, [run], from regrets and returns [run, table] and evaluation episodes."""
    curves = {"follower_return": returns.mean(-1), "follower_return_sampled": mean_return(sampled.follower_rewards)}
    if truth.knows_best_response:
        curves |= {"follower_regret_sum": shortfall.sum(-1), "follower_regret_worst": shortfall.amax(-1)}
    return curves


def learn(game: GameBatch, follower: ContextualFollower, contexts: Tensor, rounds: Rounds) -> None:
    """One follower update on episodes that were played in some contexts [run, env, ...]."""
    states = look_up(game.follower_observation, rounds.worlds)
    follower.update(contexts, states, rounds.follower_actions, returns_to_go(rounds.follower_rewards))


def _table_draws(game: GameBatch, settings: ContextualSettings) -> int:
    """How many uniforms a random leader table takes: one that picks among all, or one for each state."""
    return 1 if settings.network == "table" else game.leader_states


def _random_leader_rounds(game: GameBatch, follower: ContextualFollower, uniforms: Tensor) -> tuple[Tensor, Rounds]:
    """Play stochastic followers against random leader tables: contexts and rounds.

    uniforms: [run, env, _table_draws + round].
    """
    for_tables, for_rounds = uniforms[..., : -game.rounds], uniforms[..., -game.rounds :]
    if for_tables.shape[-1] == game.leader_states:
        answers = (for_tables * game.rows).long()
    else:
        tables = all_tables(game.leader_states, game.rows)
        answers = tables[(for_tables[..., 0] * len(tables)).long()]
    contexts = follower.contexts(answers)
    reply = by_policy(follower.policy_at(contexts), game.follower_observation, for_rounds)
    return contexts, play_rounds(game, uniforms.shape[1], by_table(answers, game.leader_observation), reply)


def _shortfall(game: GameBatch, truth: ExactValues, replies: Tensor) -> tuple[Tensor, Tensor]:
    """The greedy follower's regret and return against each leader table that it is judged by, both [run, table]."""
    returns = table_returns(game, truth.answers[None], replies)[..., FOLLOWER]
    shortfall = truth.best_response - returns
    return shortfall.masked_fill(shortfall <= truth.rounding[:, None], 0), returns
