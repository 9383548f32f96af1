"""Followers that query the leader, then play against it: contextual ones, and the computed oracles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, blocks, evaluate, sampled_returns
from stackpop.games import GameBatch, table_index
from stackpop.games.play import (
    LeaderEpisodes,
    at_context,
    by_policy,
    committed_leader,
    play_leader,
    play_rounds,
    returns_to_go,
)
from stackpop.learners import (
    COMPUTED_ORACLES,
    Batch,
    ContextualFollower,
    ContextualSettings,
    Phase,
    Streams,
    whole_episodes,
)
from stackpop.spec import RunSpec
from stackpop.training.followers import learn

POST_CURVES = ("leader_return", "follower_return", "leader_return_greedy", "leader_return_sampled", "follower_regret")


class QueriedFollowers:
    """Frozen followers of a pack of runs, each of which knows the leader's answers to all queries.

    replies: [run, context, follower_state] greedy actions. logits: [run, context, state, action] of trained
    followers, None where the oracle is computed.
    """

    def __init__(self, specs: Sequence[RunSpec], replies: Tensor, logits: Tensor | None) -> None:
        games = [spec.to_game() for spec in specs]
        self._spec, self._settings = specs[0], [spec.follower for spec in specs]
        self._seeds = [spec.seed for spec in specs]
        self._game, self._truth = GameBatch.of(games), ExactValues.of(games)
        self._replies, self._logits, self._replay = replies, logits, specs[0].commitment == "replay"
        self._training = Streams(self._seeds, Phase.LEADER_TRAINING)
        self.episode_steps = games[0].episode_steps

    @classmethod
    def of(cls, specs: Sequence[RunSpec], follower_logits: Mapping[str, np.ndarray]) -> Self:
        """The followers of a pack; follower_logits: [context, state, action] of trained ones, by `follower_id`."""
        trained = [follower.follower_id for spec in specs if (follower := spec.follower_spec())]
        if trained:
            logits = torch.stack([torch.from_numpy(follower_logits[each]) for each in trained])
            return cls(specs, logits.argmax(-1), logits)
        compute = lru_cache(maxsize=None)(COMPUTED_ORACLES[type(specs[0].follower)])  # each distinct game once
        return cls(specs, torch.stack([compute(spec.to_game()) for spec in specs]), None)

    def play(self, behaviour: Tensor, envs: int) -> Batch:
        """The leaders' next training episodes, with what they play: [run, env or 1, state, action]."""
        uniforms = self._training.uniform(envs, self.episode_steps)
        episodes = play_leader(self._game, behaviour, self._replies, uniforms, replay=self._replay)
        return leader_batch(self._game, episodes, self._spec)

    def curves(self, policies: Tensor) -> dict[str, Tensor]:
        """Exact and sampled curves [run, iteration] of recorded policies [run, iteration, state, action]."""
        return self._curves(policies, self._replies[:, None], Phase.LEADER_EVALUATION)

    def _curves(self, policies: Tensor, replies: Tensor, phase: Phase) -> dict[str, Tensor]:
        """Curves of policies against replies [run, iteration, context, follower_state], block by block."""
        game, episodes, streams = self._game, self._spec.evaluation_episodes, Streams(self._seeds, phase)
        iterations = max(policies.shape[1], replies.shape[1])
        parts = []
        for block in blocks(iterations, game.runs * game.columns**game.follower_states * game.worlds * 2):
            policy = policies[:, block] if policies.shape[1] > 1 else policies
            reply = replies[:, block] if replies.shape[1] > 1 else replies
            curves = evaluate(game, self._truth, policy, reply, replay=self._replay)
            uniforms = streams.uniform(block.stop - block.start, episodes, self.episode_steps)
            sampled = sampled_returns(game, policy, reply, uniforms, replay=self._replay)
            curves["leader_return_sampled"], curves["follower_return_sampled"] = sampled
            parts.append(curves)
        return {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}

    def post_train(self, policy: Tensor) -> dict[str, Tensor]:
        """Train the followers on against their final leaders: does the pair stay where it is?

        policy: [run, 1, state, action], fixed. Result: curves [run, post_iteration].
        """
        settings = [each for each in self._settings if isinstance(each, ContextualSettings)]
        if self._logits is None or settings[0].post_updates == 0:
            return {}
        game, steps = self._game, self.episode_steps
        follower = ContextualFollower(settings, self._logits.clone())
        streams = Streams(self._seeds, Phase.POST_TRAINING)
        envs, replies = whole_episodes(settings[0].batch_steps, steps), []
        for _ in range(settings[0].post_updates):
            uniforms = streams.uniform(envs, steps + game.rounds)
            answers, leader = committed_leader(game, policy, uniforms[..., :steps], replay=self._replay)
            contexts = table_index(answers, game.rows)
            reply = by_policy(at_context(follower.policy, contexts), game.follower_observation, uniforms[..., steps:])
            learn(game, follower, contexts, play_rounds(game, envs, leader, reply))
            replies.append(follower.replies)
        curves = self._curves(policy, torch.stack(replies, 1), Phase.POST_EVALUATION)
        return {name: curves[name] for name in POST_CURVES}


def leader_batch(game: GameBatch, episodes: LeaderEpisodes, spec: RunSpec) -> Batch:
    """What the leader decided in a batch, and what it was paid.

    Under `resample` every query answer and every action of play is a decision, unless queries are hidden from the
    leader's learning. Under `replay` the query answers are the only ones: play just repeats them, and its return is
    paid with the last answer.
    """
    rounds, answers = episodes.rounds, episodes.answers
    asked = torch.arange(spec.leader_states - answers.shape[-1], spec.leader_states).expand_as(answers)
    unpaid = torch.zeros(answers.shape, dtype=rounds.leader_rewards.dtype)
    if spec.commitment == "replay":
        unpaid[..., -1] = returns_to_go(rounds.leader_rewards)[..., 0]
        return Batch(asked, answers, unpaid)
    played = game.leader_observation[rounds.worlds], rounds.outcomes % game.rows, rounds.leader_rewards
    if spec.hidden_queries:
        return Batch(*played)
    return Batch(*(torch.cat(pair, -1) for pair in zip((asked, answers, unpaid), played, strict=True)))
