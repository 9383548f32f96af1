"""Train a pack of followers or of leaders: settings in, labelled arrays out.

A pack is a population of runs of one shape; one run is a pack of one, and there is no other path. Each
run's arrays depend on its own settings and seed only, bit for bit.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, blocks, evaluate, mean_return, sampled_returns
from stackpop.games import FOLLOWER, GameBatch, all_tables, table_index, table_returns
from stackpop.games.play import (
    LeaderEpisodes,
    Rounds,
    at_context,
    by_policy,
    by_table,
    play_leader,
    play_rounds,
    returns_to_go,
    sample_actions,
)
from stackpop.learners import (
    COMPUTED_ORACLES,
    ContextualFollower,
    ContextualSettings,
    Decisions,
    Phase,
    Streams,
    make_leaders,
)
from stackpop.learners.tables import normalised_init
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec

Arrays = dict[str, np.ndarray]
Spec = TypeVar("Spec", RunSpec, FollowerSpec)


def train_followers(specs: Sequence[FollowerSpec]) -> list[TrainingResult]:
    """Pretrain a pack of contextual followers against uniformly random leader tables.

    Results hold, along their own iteration axis, `follower_regret_sum` and `follower_regret_worst` (the
    greedy follower's shortfall, summed over and worst of all leader tables), `follower_return` (its exact
    mean over them), `follower_return_sampled` (of evaluation episodes of the stochastic follower) and
    `env_steps`; and `follower_logits` [context, state, action] and the number of `updates` made.
    """
    return _timed(_pretrain, specs)


def train_leaders(specs: Sequence[RunSpec], follower_logits: Mapping[str, np.ndarray]) -> list[TrainingResult]:
    """Train a pack of leaders, each against its frozen follower, then post-train the followers.

    follower_logits: [context, state, action] of each trained follower, by `follower_id`; runs with the
    exact oracle need none. Results hold the curves, policies and post-training curves by the store's names.
    """
    return _timed(lambda pack: _train_leaders(pack, follower_logits), specs)


def _timed(train: Callable[[Sequence[Spec]], list[Arrays]], specs: Sequence[Spec]) -> list[TrainingResult]:
    """Train a pack; what a single run gets wrong is its own error, and its neighbours go on without it."""
    started = time.time()
    try:
        with torch.inference_mode():
            arrays = train(specs)
    except Exception as error:  # whatever a run raises is recorded with the run
        if len(specs) > 1:
            return [result for spec in specs for result in _timed(train, [spec])]
        return [_result({}, f"{type(error).__name__}: {error}", started, 1)]
    return [_result(one, _not_finite(one), started, len(specs)) for one in arrays]


def _result(arrays: Arrays, error: str, started: float, runs: int) -> TrainingResult:
    finished = time.time()
    return TrainingResult(
        arrays={} if error else arrays,
        error=error,
        wall_seconds=(finished - started) / runs,
        started=started,
        finished=finished,
        worker=socket.gethostname(),
    )


def _not_finite(arrays: Arrays) -> str:
    """An error message if any number is not finite, or not in the single precision of the store; else nothing."""
    for name, array in arrays.items():
        sound = np.isfinite(array) & (np.abs(array) <= np.finfo(np.float32).max)
        if not sound.all():
            update = 1 + int(np.argwhere(~sound)[0][0])
            return f"{name} is not finite, or too large to store, from update {update} on: are the payoffs too large?"
    return ""


def _pretrain(specs: Sequence[FollowerSpec]) -> list[Arrays]:
    """Curves and final logits of a pack of followers of one shape."""
    settings, games = specs[0].follower, [spec.to_game() for spec in specs]
    game, truth = GameBatch.of(games), ExactValues.of(games)
    seeds = [spec.seed for spec in specs]
    follower = ContextualFollower([spec.follower for spec in specs], _initial_logits(game, seeds))
    streams, evaluation = Streams(seeds, Phase.FOLLOWER_TRAINING), Streams(seeds, Phase.FOLLOWER_EVALUATION)
    envs, episodes = math.ceil(settings.batch_steps / games[0].episode_steps), specs[0].evaluation_episodes
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
    _learn(game, follower, contexts, rounds)


def _learn(game: GameBatch, follower: ContextualFollower, contexts: Tensor, rounds: Rounds) -> None:
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


def _train_leaders(specs: Sequence[RunSpec], follower_logits: Mapping[str, np.ndarray]) -> list[Arrays]:
    """Curves of a pack of leaders of one shape, and of the post-training of their followers."""
    games = [spec.to_game() for spec in specs]
    game, truth = GameBatch.of(games), ExactValues.of(games)
    logits = _stack_followers(specs, follower_logits)
    replies = _computed_replies(specs) if logits is None else logits.argmax(-1)
    policies = _leader_policies(specs, game, replies)
    curves = _leader_curves(specs, game, truth, policies, replies[:, None], Phase.LEADER_EVALUATION)
    curves["entropy"] = -(policies * policies.clamp_min(1e-300).log()).sum(-1).mean(-1)
    steps = _episodes(specs[0]) * games[0].episode_steps
    curves["env_steps"] = (steps * torch.arange(1, policies.shape[1] + 1)).expand(len(specs), -1)
    curves["leader_policy"] = policies
    if logits is not None:
        curves |= _post_train(specs, game, truth, policies[:, -1:], logits)
    return [{name: values[row].numpy() for name, values in curves.items()} for row in range(len(specs))]


def _stack_followers(specs: Sequence[RunSpec], follower_logits: Mapping[str, np.ndarray]) -> Tensor | None:
    ids = [spec.follower_spec() for spec in specs]
    if ids[0] is None:
        return None
    return torch.stack([torch.from_numpy(follower_logits[f.follower_id]) for f in ids if f is not None])


def _computed_replies(specs: Sequence[RunSpec]) -> Tensor:
    """Replies [run, context, follower_state] of an oracle that needs no training, each distinct game's once."""
    compute = lru_cache(maxsize=None)(COMPUTED_ORACLES[type(specs[0].follower)])
    return torch.stack([compute(spec.to_game()) for spec in specs])


def _episodes(spec: RunSpec) -> int:
    """Episodes a batch: whole ones, until there are at least `batch_steps` environment steps."""
    return math.ceil(spec.leader.batch_steps / spec.to_game().episode_steps)


def _leader_policies(specs: Sequence[RunSpec], game: GameBatch, replies: Tensor) -> Tensor:
    """Train the leaders; their policy after each update, [run, iteration, state, action]."""
    seeds, replay = [spec.seed for spec in specs], specs[0].commitment == "replay"
    init, streams = Streams(seeds, Phase.LEADER_INIT), Streams(seeds, Phase.LEADER_TRAINING)
    leaders = make_leaders([spec.leader for spec in specs], game.leader_states, game.rows, init)
    envs, steps = _episodes(specs[0]), specs[0].to_game().episode_steps
    policies = []
    for _ in range(specs[0].leader.updates):
        policy = leaders.policy
        episodes = play_leader(game, policy, replies, streams.uniform(envs, steps), replay=replay)
        leaders.update(leader_decisions(game, episodes, replay=replay))
        policies.append(leaders.policy)
    return torch.stack(policies, 1)


def leader_decisions(game: GameBatch, episodes: LeaderEpisodes, *, replay: bool) -> Decisions:
    """What the leader decided in a batch, and what it earned from there on.

    Under `resample` every query answer and every action of play is a decision. Under `replay` the query
    answers are the only ones: play just repeats them.
    """
    rounds, answers = episodes.rounds, episodes.answers
    to_go = returns_to_go(rounds.leader_rewards)  # [run, env, round]
    states = torch.arange(answers.shape[-1]).expand_as(answers)
    returns = to_go[..., :1].expand(answers.shape)
    if replay:
        return Decisions(states.flatten(1), answers.flatten(1), returns.flatten(1))
    played = game.leader_observation[rounds.worlds], rounds.outcomes % game.rows, to_go
    parts = zip((states, answers, returns), played, strict=True)
    return Decisions(*(torch.cat(pair, -1).flatten(1) for pair in parts))


def _leader_curves(
    specs: Sequence[RunSpec], game: GameBatch, truth: ExactValues, policies: Tensor, replies: Tensor, phase: Phase
) -> dict[str, Tensor]:
    """Exact and sampled curves [run, iteration] of recorded policies and replies, block by block."""
    replay, episodes = specs[0].commitment == "replay", specs[0].evaluation_episodes
    streams = Streams([spec.seed for spec in specs], phase)
    iterations = max(policies.shape[1], replies.shape[1])
    parts = []
    for block in blocks(iterations, game.runs * game.columns**game.follower_states * game.worlds * 2):
        policy = policies[:, block] if policies.shape[1] > 1 else policies
        reply = replies[:, block] if replies.shape[1] > 1 else replies
        curves = evaluate(game, truth, policy, reply, replay=replay)
        uniforms = streams.uniform(block.stop - block.start, episodes, specs[0].to_game().episode_steps)
        sampled = sampled_returns(game, policy, reply, uniforms, replay=replay)
        curves["leader_return_sampled"], curves["follower_return_sampled"] = sampled
        parts.append(curves)
    return {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}


def _post_train(
    specs: Sequence[RunSpec], game: GameBatch, truth: ExactValues, policy: Tensor, logits: Tensor
) -> dict[str, Tensor]:
    """Train the followers on against their final leaders: does the pair stay where it is?

    policy: [run, 1, leader_state, row], fixed; logits: [run, context, state, action], where followers start.
    """
    settings, seeds = [spec.follower for spec in specs], [spec.seed for spec in specs]
    pack = [s for s in settings if isinstance(s, ContextualSettings)]
    if pack[0].post_updates == 0:
        return {}
    follower = ContextualFollower(pack, logits.clone())
    streams = Streams(seeds, Phase.POST_TRAINING)
    steps = specs[0].to_game().episode_steps
    envs = math.ceil(pack[0].batch_steps / steps)
    replies = []
    for _ in range(pack[0].post_updates):
        uniforms = streams.uniform(envs, steps + game.rounds)
        answers = sample_actions(policy, uniforms[..., : game.leader_states])
        contexts = table_index(answers, game.rows)
        mine, theirs = uniforms[..., game.leader_states : steps], uniforms[..., steps:]
        leader = (
            by_table(answers, game.leader_observation)
            if specs[0].commitment == "replay"
            else by_policy(policy, game.leader_observation, mine)
        )
        reply = by_policy(at_context(follower.policy, contexts), game.follower_observation, theirs)
        _learn(game, follower, contexts, play_rounds(game, envs, leader, reply))
        replies.append(follower.replies)
    curves = _leader_curves(specs, game, truth, policy, torch.stack(replies, 1), Phase.POST_EVALUATION)
    names = ("leader_return", "follower_return", "leader_return_greedy", "leader_return_sampled", "follower_regret")
    return {f"post_{name}": curves[name] for name in names}
