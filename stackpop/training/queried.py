"""Followers that query the leader, then play against it: contextual ones, and the computed oracles.

Where the contexts can be enumerated, all replies of the frozen followers are known from the start, and the curves are
exact. Elsewhere the followers' networks are asked for their replies to the answers that come up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import mirrored, tensor_of
from stackpop.evaluation import ExactValues, evaluate, in_blocks, sampled_returns
from stackpop.games import GameBatch
from stackpop.games.play import (
    LeaderEpisodes,
    Player,
    by_policy,
    by_table,
    committed_leader,
    informed_follower,
    play_rounds,
    returns_to_go,
)
from stackpop.learners import (
    COMPUTED_ORACLES,
    Batch,
    ContextualFollower,
    ContextualSettings,
    Phase,
    Snapshot,
    Streams,
    joined,
    make_followers,
    part,
    whole_episodes,
)
from stackpop.spec import RunSpec
from stackpop.training.cuda_graphs import GraphedUpdate
from stackpop.training.followers import learn
from stackpop.training.sampled import sampled_curves

POST_CURVES = ("leader_return", "follower_return", "leader_return_greedy", "leader_return_sampled", "follower_regret")


class QueriedFollowers:
    """Frozen followers of a pack of runs, each of which knows the leader's answers to all queries.

    replies: [run, context, follower_state] greedy actions, None where contexts are too many to enumerate.
    follower: what was trained, None where the oracle is computed.
    """

    recordable = True

    def __init__(self, specs: Sequence[RunSpec], replies: Tensor | None, follower: ContextualFollower | None) -> None:
        games = [spec.to_game() for spec in specs]
        self._spec, self._seeds = specs[0], [spec.seed for spec in specs]
        self._settings = _trained_settings(specs)
        self._game, self._truth = GameBatch.of(games), ExactValues.of(games)
        self._follower, self._replay = follower, specs[0].commitment == "replay"
        self._replies = self._all_replies(follower) if follower and self._truth.enumerated else replies
        self._training = Streams(self._seeds, Phase.LEADER_TRAINING)
        self._evaluation = Streams(self._seeds, Phase.LEADER_EVALUATION)
        self.episode_steps = games[0].episode_steps

    @classmethod
    def of(cls, specs: Sequence[RunSpec], learned: Mapping[str, np.ndarray]) -> Self:
        """The followers of a pack; learned: what each trained one learned, by `follower_id`."""
        trained = [follower.follower_id for spec in specs if (follower := spec.follower_spec())]
        if trained:
            parameters = tensor_of(np.stack([learned[each] for each in trained]))
            game = GameBatch.of([spec.to_game() for spec in specs])
            return cls(specs, None, make_followers(_trained_settings(specs), parameters, game))
        compute = lru_cache(maxsize=None)(COMPUTED_ORACLES[type(specs[0].follower)])  # each distinct game once
        return cls(specs, tensor_of(torch.stack([compute(spec.to_game()) for spec in specs])), None)

    def _all_replies(self, follower: ContextualFollower) -> Tensor:
        """Greedy actions in every context, [run, context, follower_state]."""
        return follower.replies_at(follower.contexts(self._truth.answers[None]))

    def _informed(self, answers: Tensor) -> Player:
        """The frozen followers as players that know the leader's answers [run, env, leader_state]."""
        if self._replies is None:
            return by_table(_ask(self._follower, answers), self._game.follower_observation)
        return informed_follower(self._game, self._replies, answers)

    def play(self, behaviour: Tensor, envs: int) -> Batch:
        """The leaders' next training episodes, with what they play: [run, env or 1, state, action]."""
        uniforms = self._training.uniform(envs, self.episode_steps)
        answers, leader = committed_leader(self._game, behaviour, uniforms, replay=self._replay)
        episodes = LeaderEpisodes(answers, play_rounds(self._game, envs, leader, self._informed(answers)))
        return leader_batch(self._game, episodes, self._spec)

    def curves(self, policies: Tensor) -> dict[str, Tensor]:
        """Curves [run, iteration] of the next recorded policies [run, iteration, state, action]."""
        if self._replies is None:
            return self._sampled_curves(policies, self._follower, self._evaluation)
        return self._exact_curves(policies, self._replies[:, None], self._evaluation)

    def snapshot(self) -> Snapshot:
        """Where the random numbers stand: the followers are frozen."""
        return joined({"training": self._training.snapshot(), "evaluation": self._evaluation.snapshot()})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of followers of the same runs."""
        self._training.restore(part(snapshot, "training"))
        self._evaluation.restore(part(snapshot, "evaluation"))

    def _exact_curves(self, policies: Tensor, replies: Tensor, streams: Streams) -> dict[str, Tensor]:
        """Curves of policies against replies [run, iteration, context, follower_state]."""
        game, episodes = self._game, self._spec.evaluation_episodes

        def sampled(policy: Tensor, reply: Tensor) -> dict[str, Tensor]:
            uniforms = streams.uniform(max(policy.shape[1], reply.shape[1]), episodes, self.episode_steps)
            return sampled_returns(game, policy, reply, uniforms, replay=self._replay)

        curves = evaluate(game, self._truth, policies, replies, replay=self._replay)
        return curves | in_blocks(sampled, game.runs * episodes * self.episode_steps, policies, replies)

    def _sampled_curves(
        self, policies: Tensor, follower: ContextualFollower | None, streams: Streams
    ) -> dict[str, Tensor]:
        """Curves where contexts are too many to enumerate."""
        query, episodes = partial(_ask, follower), self._spec.evaluation_episodes
        return sampled_curves(self._game, self._truth, policies, query, streams, episodes, replay=self._replay)

    def post_train(self, policy: Tensor) -> dict[str, Tensor]:
        """Train the followers on against their final leaders: does the pair stay where it is?

        policy: [run, 1, state, action], fixed. Result: curves [run, post_iteration].
        """
        if self._follower is None or self._settings[0].post_updates == 0:
            return {}
        follower = make_followers(self._settings, self._follower.parameters.clone(), self._game)
        training = self._post_updates(follower, policy)
        streams = Streams(self._seeds, Phase.POST_EVALUATION)
        if self._truth.enumerated:
            replies = torch.stack([self._all_replies(follower) for _ in training], 1)
            curves = self._exact_curves(policy, replies, streams)
        else:
            parts = [self._sampled_curves(policy, follower, streams) for _ in training]
            curves = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
        return {name: curves[name] for name in POST_CURVES if name in curves}

    def _post_updates(self, follower: ContextualFollower, policy: Tensor) -> Iterator[None]:
        """Make the updates of `post_train`, one each time that the next is asked for."""
        game, steps, settings = self._game, self.episode_steps, self._settings[0]
        streams, envs = Streams(self._seeds, Phase.POST_TRAINING), whole_episodes(settings.batch_steps, steps)

        def update() -> None:
            uniforms = streams.uniform(envs, steps + game.rounds)
            answers, leader = committed_leader(game, policy, uniforms[..., :steps], replay=self._replay)
            contexts = follower.contexts(answers)
            reply = by_policy(follower.policy_at(contexts), game.follower_observation, uniforms[..., steps:])
            learn(game, follower, contexts, play_rounds(game, envs, leader, reply))

        next_update = GraphedUpdate(update)
        for _ in range(settings.post_updates):
            next_update()
            yield


def _trained_settings(specs: Sequence[RunSpec]) -> list[ContextualSettings]:
    """The settings of followers that are trained."""
    return [each for spec in specs if isinstance(each := spec.follower, ContextualSettings)]


def _ask(follower: ContextualFollower | None, answers: Tensor) -> Tensor:
    """A follower's replies to answers [run, env, leader_state].

    Equal answers are asked for as often as they come: to find them would cost more than to ask.
    """
    if follower is None:
        raise ValueError("a computed oracle answers in games that can be enumerated only")
    return follower.replies_at(follower.contexts(answers))


def leader_batch(game: GameBatch, episodes: LeaderEpisodes, spec: RunSpec) -> Batch:
    """What the leader decided in a batch, and what it was paid.

    Under `resample` every query answer and every action of play is a decision, unless queries are hidden from the
    leader's learning. Under `replay` the query answers are the only ones: play just repeats them, and its return is
    paid with the last answer.
    """
    rounds, answers = episodes.rounds, episodes.answers
    first, states, rewards = spec.leader_states - answers.shape[-1], spec.leader_states, rounds.leader_rewards
    asked = answers + game.rows * torch.arange(first, states)
    unpaid = torch.zeros(answers.shape, dtype=rewards.dtype)
    if spec.commitment == "replay":
        unpaid[..., -1] = returns_to_go(rewards)[..., 0]
        return Batch(asked, game.rows, unpaid)
    played = rounds.before(game.rows * game.leader_observation) + rounds.leader_actions
    if spec.hidden_queries:
        return Batch(played, game.rows, rewards)
    return Batch(in_sequence(asked, played), game.rows, in_sequence(unpaid, rewards))


def in_sequence(*parts: Tensor) -> Tensor:
    """Steps after steps: tensors [run, env, step] as one."""
    return mirrored(torch.cat([mirrored(part) for part in parts]))
