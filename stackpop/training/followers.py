"""Pretrain contextual followers against random leaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import host_array
from stackpop.devices import Device
from stackpop.equilibria import judges_all
from stackpop.evaluation import ExactValues, blocks, mean_return
from stackpop.games import FOLLOWER, GameBatch, all_tables, table_returns
from stackpop.games.play import Rounds, by_policy, by_table, play_rounds, returns_to_go
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
from stackpop.training.cuda_graphs import GraphedUpdate
from stackpop.training.packs import timed

MOST_WASTED = 32  # updates that an early stop may come too late, since many updates are judged at once
LEARNED = ("follower_logits", "follower_parameters")


def train_followers(specs: Sequence[FollowerSpec], device: Device = "cpu") -> list[TrainingResult]:
    """Pretrain a pack of contextual followers against uniformly random leader tables.

    Results hold, along their own iteration axis, `follower_regret_sum` and `follower_regret_worst` (the
    greedy follower's shortfall, summed over and worst of all leader tables), `follower_return` (its exact
    mean over them), `follower_return_sampled` (of evaluation episodes of the stochastic follower) and
    `env_steps`; and what it `learned` and the number of `updates` made. Where the leader tables are too many to
    enumerate, a sample stands for them, and where best responses are too many to find, there are no regrets.

    Raises:
        ClusterError: the device is `cuda`, and there is none.
    """
    return timed(_pretrain, specs, device)


def learned(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a trained follower learned: logits [context, state, action], or a network's parameters [parameter]."""
    return next(arrays[name] for name in LEARNED if name in arrays)


def _pretrain(specs: Sequence[FollowerSpec]) -> list[TrainingResult]:
    """Curves and what was learned of a pack of followers of one shape."""
    settings, games, seeds = specs[0].follower, [spec.to_game() for spec in specs], [spec.seed for spec in specs]
    game, truth = GameBatch.of(games), ExactValues.of(games)
    start = fresh_parameters(settings, game, Streams(seeds, Phase.FOLLOWER_INIT))
    follower = make_followers([spec.follower for spec in specs], start, game)
    streams, evaluation = Streams(seeds, Phase.FOLLOWER_TRAINING), Streams(seeds, Phase.FOLLOWER_EVALUATION)
    envs, draws = (
        whole_episodes(settings.batch_steps, games[0].episode_steps),
        _table_draws(game, settings) + game.rounds,
    )
    may_stop = settings.early_stop and judges_all(games[0])
    updates, learned = torch.full((len(specs),), settings.updates), torch.empty_like(follower.parameters)
    training = torch.ones(len(specs), dtype=torch.bool)
    next_update = GraphedUpdate(
        lambda: learn(game, follower, *_random_leader_rounds(game, follower, streams.uniform(envs, draws)))
    )
    parts = []
    for block in blocks(settings.updates, game.runs * truth.answers.shape[0] * game.worlds, at_most=MOST_WASTED):
        recorded = []
        for _ in range(block.start, block.stop):
            next_update()
            recorded.append(follower.parameters.clone())
        parameters = torch.stack(recorded, 1)
        uniforms = evaluation.uniform(len(recorded), specs[0].evaluation_episodes, draws)
        curves, exact = _evaluate(game, truth, settings, parameters, uniforms)
        parts.append(curves)
        finished = training & may_stop & exact.any(1)
        first = exact.long().argmax(1)[finished]
        updates[finished], learned[finished] = block.start + 1 + first, parameters[finished, first]
        training &= ~finished
        if not training.any():
            break
    learned[training] = follower.parameters[training]
    steps, found = envs * games[0].episode_steps, host_array(learned)
    by_name = {name: host_array(torch.cat([part[name] for part in parts], 1)) for name in parts[0]}
    return [
        TrainingResult(
            {
                **{name: values[row, :n] for name, values in by_name.items()},
                "env_steps": steps * np.arange(1, n + 1),
                settings.stored_as: found[row].copy(),
                "updates": np.array(n),
            }
        )
        for row, n in enumerate(updates.tolist())
    ]


def _evaluate(
    game: GameBatch, truth: ExactValues, settings: ContextualSettings, parameters: Tensor, uniforms: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Curves of recorded followers, and whether they best-respond to all that they are judged by: [run, iteration].

    parameters: [run, iteration, *parameter_shape]; uniforms: [run, iteration, env, _table_draws + round].
    """
    shape = parameters.shape[:2]
    each = game.repeat(shape[1])  # every iteration of a run as a run of its own
    follower = make_followers([settings] * each.runs, parameters.flatten(0, 1), each)
    sampled = _random_leader_rounds(each, follower, uniforms.flatten(0, 1))[1]
    replies = follower.replies_at(follower.contexts(truth.answers[None]))
    returns = table_returns(each, truth.answers[None], replies)[..., FOLLOWER].unflatten(0, shape)
    shortfall = truth.best_response[:, None] - returns  # [run, iteration, table]
    shortfall = shortfall.masked_fill(shortfall <= truth.rounding[:, None, None], 0)
    sampled_return = mean_return(sampled.follower_rewards).view(shape)
    curves = {"follower_return": returns.mean(-1), "follower_return_sampled": sampled_return}
    if truth.knows_best_response:
        curves |= {"follower_regret_sum": shortfall.sum(-1), "follower_regret_worst": shortfall.amax(-1)}
    return curves, (shortfall <= 0).all(-1)


def learn(game: GameBatch, follower: ContextualFollower, contexts: Tensor, rounds: Rounds) -> None:
    """One follower update on episodes that were played in some contexts [run, env, ...]."""
    decision = rounds.before(game.columns * game.follower_observation) + rounds.follower_actions
    follower.update(contexts, decision, returns_to_go(rounds.follower_rewards))


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
