"""Pretrain contextual followers against random leaders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, mean_return
from stackpop.games import FOLLOWER, GameBatch, all_tables, table_returns
from stackpop.games.play import Rounds, at_context, by_policy, by_table, play_rounds, returns_to_go
from stackpop.learners import ContextualFollower, Phase, Streams, normalised_init, whole_episodes
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec
from stackpop.training.packs import Arrays, timed


def train_followers(specs: Sequence[FollowerSpec]) -> list[TrainingResult]:
    """Pretrain a pack of contextual followers against uniformly random leader tables.

    Results hold, along their own iteration axis, `follower_regret_sum` and `follower_regret_worst` (the
    greedy follower's shortfall, summed over and worst of all leader tables), `follower_return` (its exact
    mean over them), `follower_return_sampled` (of evaluation episodes of the stochastic follower) and
    `env_steps`; and `follower_logits` [context, state, action] and the number of `updates` made.
    """
    return timed(_pretrain, specs)


def _pretrain(specs: Sequence[FollowerSpec]) -> list[Arrays]:
    """Curves and final logits of a pack of followers of one shape."""
    settings, games = specs[0].follower, [spec.to_game() for spec in specs]
    game, truth = GameBatch.of(games), ExactValues.of(games)
    seeds = [spec.seed for spec in specs]
    follower = ContextualFollower([spec.follower for spec in specs], _initial_logits(game, seeds))
    streams, evaluation = Streams(seeds, Phase.FOLLOWER_TRAINING), Streams(seeds, Phase.FOLLOWER_EVALUATION)
    envs, episodes = whole_episodes(settings.batch_steps, games[0].episode_steps), specs[0].evaluation_episodes
    updates = torch.full((len(specs),), settings.updates)
    logits = torch.empty_like(follower.logits)
    training = torch.ones(len(specs), dtype=torch.bool)
    curves: dict[str, list[Tensor]] = {name: [] for name in _FOLLOWER_CURVES}
    for iteration in range(1, settings.updates + 1):
        _practise(game, follower, streams.uniform(envs, 1 + game.rounds))
        shortfall, returns = _shortfall(game, truth, follower.replies)
        sampled = _random_leader_rounds(game, follower.policy, evaluation.uniform(episodes, 1 + game.rounds))[1]
        for name, value in zip(
            _FOLLOWER_CURVES,
            (shortfall.sum(-1), shortfall.amax(-1), returns.mean(-1), mean_return(sampled.follower_rewards)),
            strict=True,
        ):
            curves[name].append(value)
        finished = training & (settings.early_stop & (shortfall <= 0).all(-1))
        logits[finished], updates[finished] = follower.logits[finished], iteration
        training &= ~finished
        if not training.any():
            break
    logits[training] = follower.logits[training]
    steps = envs * games[0].episode_steps
    stacked = {name: torch.stack(values, 1).numpy() for name, values in curves.items()}
    return [
        {
            **{name: values[row, :n] for name, values in stacked.items()},
            "env_steps": steps * np.arange(1, n + 1),
            "follower_logits": logits[row].numpy().copy(),
            "updates": np.array(n),
        }
        for row, n in enumerate(updates.tolist())
    ]


_FOLLOWER_CURVES = ("follower_regret_sum", "follower_regret_worst", "follower_return", "follower_return_sampled")


def _initial_logits(game: GameBatch, seeds: Sequence[int]) -> Tensor:
    contexts, states, columns = game.rows**game.leader_states, game.follower_states, game.columns
    normals = Streams(seeds, Phase.FOLLOWER_INIT).normal(contexts * states, columns)
    return normalised_init(normals).view(-1, contexts, states, columns)


def _practise(game: GameBatch, follower: ContextualFollower, uniforms: Tensor) -> None:
    """One follower update against a fresh random leader table in every episode."""
    contexts, rounds = _random_leader_rounds(game, follower.policy, uniforms)
    learn(game, follower, contexts, rounds)


def learn(game: GameBatch, follower: ContextualFollower, contexts: Tensor, rounds: Rounds) -> None:
    """One follower update on episodes that were played in some contexts [run, env]."""
    states = game.follower_observation[rounds.worlds]
    actions = rounds.outcomes.div(game.rows, rounding_mode="floor")
    follower.update(contexts, states, actions, returns_to_go(rounds.follower_rewards))


def _random_leader_rounds(game: GameBatch, policy: Tensor, uniforms: Tensor) -> tuple[Tensor, Rounds]:
    """Play stochastic followers against random leader tables; uniforms [run, env, 1 + round]."""
    tables = all_tables(game.leader_states, game.rows)
    contexts = (uniforms[..., 0] * len(tables)).long()
    leader = by_table(tables[contexts], game.leader_observation)
    follower = by_policy(at_context(policy, contexts), game.follower_observation, uniforms[..., 1:])
    return contexts, play_rounds(game, uniforms.shape[1], leader, follower)


def _shortfall(game: GameBatch, truth: ExactValues, replies: Tensor) -> tuple[Tensor, Tensor]:
    """The greedy follower's regret and return against each leader table, both [run, context]."""
    tables = all_tables(game.leader_states, game.rows)
    returns = table_returns(game, tables[None], replies)[..., FOLLOWER]
    shortfall = truth.best_response - returns
    return shortfall.masked_fill(shortfall <= truth.rounding[:, None], 0), returns
