"""Sampled play: many episodes of many runs, one tensor operation a round.

A *player* here is a function (round, world state) -> action over [run, env, 1] tensors. Uniform random
numbers come in as an argument, so play is a pure function and a run's episodes depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stackpop.games.repeated import GameBatch, table_index

Player = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Rounds:
    """What happened in the rounds of an episode.

    worlds: [run, env, round] world state before each round.
    outcomes: [run, env, round] pair of actions a + rows·b of each round.
    leader_rewards, follower_rewards: [run, env, round] payoff to each player, offset included.
    """

    worlds: Tensor
    outcomes: Tensor
    leader_rewards: Tensor
    follower_rewards: Tensor

    @property
    def last_worlds(self) -> Tensor:
        """World state after the last round: [run, env, 1]."""
        return 1 + self.outcomes[..., -1:]


@dataclass(frozen=True)
class LeaderEpisodes:
    """Leader episodes: every state is queried once, then the rounds are played.

    answers: [run, env, leader_state] action given to each query.
    rounds: the play that follows.
    """

    answers: Tensor
    rounds: Rounds


def sample_actions(policy: Tensor, uniforms: Tensor) -> Tensor:
    """Actions by inversion of the cumulative policy: [..., action] and [...] -> [...] int64."""
    cumulative = policy.cumsum(-1)
    action = (uniforms >= cumulative[..., 0]).long()
    for k in range(1, policy.shape[-1] - 1):
        action += uniforms >= cumulative[..., k]
    return action


def by_table(tables: Tensor, observation: Tensor) -> Player:
    """A player that follows deterministic tables [run, env, state] of its observation [world] -> state."""
    by_world = tables[..., observation]
    return lambda _, world: by_world.gather(-1, world)


def by_policy(policy: Tensor, observation: Tensor, uniforms: Tensor) -> Player:
    """A player that samples from a policy [run, env, state, action] with uniforms [run, env, round].

    The policy's `env` axis may have length 1: one policy for all episodes of a run.
    """
    runs, envs, _ = uniforms.shape
    cumulative = policy.cumsum(-1)[..., observation, :].expand(runs, envs, -1, -1)
    thresholds = [cumulative[..., k] for k in range(policy.shape[-1] - 1)]
    draws = uniforms.unsqueeze(-1).unbind(2)

    def act(t: int, world: Tensor) -> Tensor:
        action = (draws[t] >= thresholds[0].gather(-1, world)).long()
        for threshold in thresholds[1:]:
            action += draws[t] >= threshold.gather(-1, world)
        return action

    return act if thresholds else lambda _, world: torch.zeros_like(world)


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
    path = [worlds]
    for t in rounds:
        a, b = leader(t, path[-1]), follower(t, path[-1])
        path.append(torch.add(a, b, alpha=game.rows).add_(1))
    visited = torch.cat(path, dim=-1)
    outcomes = visited[..., 1:] - 1
    # [run, player, outcome], looked up for all rounds at once.
    rewards = game.payoffs.permute(0, 3, 2, 1).flatten(2)
    flat = outcomes.flatten(1)
    leader_rewards, follower_rewards = (rewards[:, p].gather(1, flat).view_as(outcomes) for p in (0, 1))
    return Rounds(visited[..., :-1], outcomes, leader_rewards, follower_rewards)


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
    runs = torch.arange(by_context.shape[0])[:, None]
    return by_context[runs, contexts]


def returns_to_go(rewards: Tensor) -> Tensor:
    """Undiscounted sum of rewards from each step on: [..., step] -> [..., step]."""
    return rewards.flip(-1).cumsum(-1).flip(-1)
