"""Sampled play: many episodes of many runs, one tensor operation a round.

All episodes of a pack stand side by side in one row. An episode's *place* is episode · worlds + world, the one number
by which all that depends on its world state is looked up, and a *player* is a function (round, places) -> actions, both
arrays [episode]. Tensors [run, env, step] that come from here are laid out step by step. Uniform random numbers come in
as an argument, so play is a pure function and a run's episodes depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import array_of
from stackpop.games.repeated import FOLLOWER, LEADER, GameBatch, table_index

Player = Callable[[int, Any], Any]


@dataclass(frozen=True)
class Rounds:
    """What happened in the rounds of an episode.

    visited: [run, env, round + 1] world state before each round and after the last.
    """

    game: GameBatch
    visited: Tensor

    @property
    def worlds(self) -> Tensor:
        """World state before each round: [run, env, round]."""
        return self.visited[..., :-1]

    @cached_property
    def outcomes(self) -> Tensor:
        """Pair of actions a + rows·b of each round: [run, env, round]."""
        return self.visited[..., 1:] - 1

    @property
    def last_worlds(self) -> Tensor:
        """World state after the last round: [run, env, 1]."""
        return self.visited[..., -1:]

    @cached_property
    def leader_rewards(self) -> Tensor:
        """Payoff to the leader, offset included: [run, env, round]."""
        return self._rewards(LEADER)

    @cached_property
    def follower_rewards(self) -> Tensor:
        """Payoff to the follower, offset included: [run, env, round]."""
        return self._rewards(FOLLOWER)

    @property
    def leader_actions(self) -> Tensor:
        """What the leader did in each round: [run, env, round]."""
        return look_up(torch.arange(self.game.rows).repeat(self.game.columns), self.outcomes)

    @property
    def follower_actions(self) -> Tensor:
        """What the follower did in each round: [run, env, round]."""
        return look_up(torch.arange(self.game.columns).repeat_interleave(self.game.rows), self.outcomes)

    def _rewards(self, player: int) -> Tensor:
        rewards = self.game.payoffs[..., player].transpose(1, 2).flatten()
        first = torch.arange(self.game.runs) * (self.game.worlds - 1)
        return look_up(rewards, self.outcomes + first[:, None, None])


@dataclass(frozen=True)
class LeaderEpisodes:
    """Leader episodes: every state is queried once, then the rounds are played.

    answers: [run, env, leader_state] action given to each query.
    rounds: the play that follows.
    """

    answers: Tensor
    rounds: Rounds


def look_up(values: Tensor, indices: Tensor) -> Tensor:
    """values[indices] for values in one row; several times as fast, and laid out as the indices of [..., step] are."""
    return values.index_select(0, in_a_row(indices)).view(indices.shape[-1:] + indices.shape[:-1]).movedim(0, -1)


def in_a_row(x: Tensor) -> Tensor:
    """All numbers of [..., step], step by step: without a copy, where they are laid out so."""
    return x.movedim(-1, 0).flatten()


def sample_actions(policy: Tensor, uniforms: Tensor) -> Tensor:
    """Actions by inversion of the cumulative policy: [..., action] and [...] -> [...] int64."""
    action = torch.zeros(uniforms.shape, dtype=torch.int64)
    for threshold in thresholds(policy):
        action = action + (uniforms >= threshold)
    return action


def thresholds(policy: Tensor) -> list[Tensor]:
    """Where a uniform passes to the next action: [..., action] -> [...] for all actions but the last."""
    return list(accumulate(policy.unbind(-1)[:-1], torch.add))


def by_table(tables: Tensor, observation: Tensor) -> Player:
    """A player that follows deterministic tables [run, env, state] of its observation [world] -> state."""
    by_place = _by_place(tables, observation, tables.shape[1])
    return lambda _, places: by_place.take(places)


def by_policy(policy: Tensor, observation: Tensor, uniforms: Tensor) -> Player:
    """A player that samples from a policy [run, env, state, action] with uniforms [run, env, round].

    The policy's `env` axis may have length 1: one policy for all episodes of a run.
    """
    envs = uniforms.shape[1]
    by_place = [_by_place(threshold, observation, envs) for threshold in thresholds(policy)]
    draws = array_of(uniforms.movedim(-1, 0).flatten(1))  # [round, episode]
    # The first threshold tells whether it is a later action than 0, and each further one adds 1 to that.
    return lambda t, places: sum((draws[t] >= threshold.take(places) for threshold in by_place), start=0)


def _by_place(by_state: Tensor, observation: Tensor, envs: int) -> Any:
    """[run, env or 1, state] -> array [place]."""
    return array_of(by_state.index_select(-1, observation).expand(-1, envs, -1).flatten())


def informed_follower(game: GameBatch, replies: Tensor, answers: Tensor) -> Player:
    """The deterministic contextual follower, once it knows the leader's answers to the queries.

    replies: [run, context, follower_state] actions; answers: [run, env, leader_state] actions.
    """
    tables = at_context(replies, table_index(answers, game.rows))
    return by_table(tables, game.follower_observation)


def play_rounds(game: GameBatch, envs: int, leader: Player, follower: Player) -> Rounds:
    """Play every round of `envs` episodes a run."""
    start = torch.zeros(game.runs, envs, 1, dtype=torch.int64)
    return play_on(game, start, leader, follower, range(game.rounds))


def play_on(game: GameBatch, worlds: Tensor, leader: Player, follower: Player, rounds: range) -> Rounds:
    """Play some rounds of episodes that stand at world states [run, env, 1]."""
    runs, envs, _ = worlds.shape
    start = torch.arange(0, runs * envs * game.worlds, game.worlds)  # place of each episode's first world state
    visited = torch.empty(len(rounds) + 1, runs * envs, dtype=torch.int64)
    places, first_outcome = array_of(visited), array_of(start + 1)
    places[0] = array_of(worlds.flatten() + start)
    for step, t in enumerate(rounds):
        here = places[step]
        places[step + 1] = first_outcome + leader(t, here) + game.rows * follower(t, here)
    visited -= start
    return Rounds(game, visited.view(-1, runs, envs).movedim(0, -1))


def play_leader(game: GameBatch, policy: Tensor, replies: Tensor, uniforms: Tensor, *, replay: bool) -> LeaderEpisodes:
    """Leader episodes against a deterministic contextual follower.

    policy: [run, env or 1, leader_state, row] probabilities, with or without a query bit; replies: [run, context,
    follower_state] actions; uniforms: [run, env, leader_state + round], one for each query and each round. With
    `replay` the query answers are played as given; otherwise the leader samples again in every round, as published.
    """
    answers, leader = committed_leader(game, policy, uniforms, replay=replay)
    follower = informed_follower(game, replies, answers)
    return LeaderEpisodes(answers, play_rounds(game, uniforms.shape[1], leader, follower))


def committed_leader(game: GameBatch, policy: Tensor, uniforms: Tensor, *, replay: bool) -> tuple[Tensor, Player]:
    """A leader's answers to the queries, [run, env, leader_state], and the leader as a player; see `play_leader`."""
    states = game.leader_states
    asked, played = asked_and_played(policy, states)
    answers = sample_actions(asked, uniforms[..., :states])
    if replay:
        return answers, by_table(answers, game.leader_observation)
    return answers, by_policy(played, game.leader_observation, uniforms[..., states:])


def asked_and_played(policy: Tensor, states: int) -> tuple[Tensor, Tensor]:
    """The parts of a leader's policy that answer the queries, and that play: [..., state, action] each.

    states: memory states of the game. A leader that observes a query bit has twice as many, first those without
    the bit, then those with it; any other answers as it plays.
    """
    return policy[..., -states:, :], policy[..., :states, :]


def at_context(by_context: Tensor, contexts: Tensor) -> Tensor:
    """Pick each episode's context: [run, context, ...] and [run, env] -> [run, env, ...]."""
    runs, size = by_context.shape[:2]
    rows = contexts + size * torch.arange(runs)[:, None]  # [run, env]
    picked: Tensor = by_context.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return picked


@np.errstate(all="ignore")  # as in PyTorch
def returns_to_go(rewards: Tensor) -> Tensor:
    """Undiscounted sum of rewards from each step on: [..., step] -> [..., step], laid out step by step."""
    to_go = rewards.movedim(-1, 0).clone(memory_format=torch.contiguous_format)
    by_step = array_of(to_go)
    for step in reversed(range(len(by_step) - 1)):
        by_step[step] += by_step[step + 1]
    return to_go.movedim(0, -1)


def in_sequence(*parts: Tensor) -> Tensor:
    """Steps after steps: tensors [run, env, step] as one, laid out step by step."""
    return torch.cat([part.movedim(-1, 0) for part in parts]).movedim(0, -1)
