"""Sampled play: many episodes of many runs, one tensor operation a round.

All episodes of a pack stand side by side in one row. An episode's *place* is run · worlds + world, the one number by
which all that depends on its run and its world state is looked up, and a *player* is a function (round, places) ->
actions, both arrays [episode]. Tensors [run, env, step] that come from here are laid out the other way round, step by
step and with the runs innermost (see `stackpop.arrays.mirrored`). Uniform random numbers come in as an argument, so
play is a pure function and a run's episodes depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import array_of, mirrored, tensor_of
from stackpop.games.repeated import FOLLOWER, LEADER, GameBatch, table_index

Player = Callable[[int, Any], Any]


@dataclass(frozen=True)
class Rounds:
    """What happened in the rounds of an episode.

    places: [round + 1, env, run] where each episode stood before each round and after the last.
    """

    game: GameBatch
    places: Tensor

    @staticmethod
    def of(game: GameBatch, worlds: Tensor) -> Rounds:
        """The rounds of world states [run, env, round + 1]."""
        return Rounds(game, mirrored(worlds) + game.starts)

    @property
    def worlds(self) -> Tensor:
        """World state before each round: [run, env, round]."""
        return self._worlds(self.places[:-1])

    @property
    def outcomes(self) -> Tensor:
        """Pair of actions a + rows·b of each round: [run, env, round]."""
        return self._worlds(self.places[1:]) - 1

    @property
    def last_worlds(self) -> Tensor:
        """World state after the last round: [run, env, 1]."""
        return self._worlds(self.places[-1:])

    @property
    def leader_rewards(self) -> Tensor:
        """Payoff to the leader, offset included: [run, env, round]."""
        return self._after(self.game.last_rewards[LEADER])

    @property
    def follower_rewards(self) -> Tensor:
        """Payoff to the follower, offset included: [run, env, round]."""
        return self._after(self.game.last_rewards[FOLLOWER])

    @property
    def leader_actions(self) -> Tensor:
        """What the leader did in each round: [run, env, round]."""
        return self._after(self.game.last_actions[LEADER])

    @property
    def follower_actions(self) -> Tensor:
        """What the follower did in each round: [run, env, round]."""
        return self._after(self.game.last_actions[FOLLOWER])

    def before(self, by_world: Tensor) -> Tensor:
        """What a table [world] holds for the world state before each round: [run, env, round]."""
        return self._look_up(by_world, self.places[:-1])

    def _after(self, by_world: Tensor) -> Tensor:
        """What a table [world] or [run, world] holds for the world state after each round: [run, env, round]."""
        return self._look_up(by_world, self.places[1:])

    def _look_up(self, by_world: Tensor, places: Tensor) -> Tensor:
        by_place = by_world.expand(self.game.runs, -1).flatten()
        return mirrored(tensor_of(array_of(by_place).take(array_of(places))))

    def _worlds(self, places: Tensor) -> Tensor:
        return mirrored(places - self.game.starts)


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
    later = [uniforms >= threshold for threshold in thresholds(policy)]  # than action 0, than action 1, ...
    return sum(later[1:], start=later[0].long()) if later else torch.zeros(uniforms.shape, dtype=torch.int64)


def thresholds(policy: Tensor) -> list[Tensor]:
    """Where a uniform passes to the next action: [..., action] -> [...] for all actions but the last."""
    return list(accumulate(policy.unbind(-1)[:-1], torch.add))


def by_table(tables: Tensor, observation: Tensor, chosen: Tensor | None = None) -> Player:
    """A player that follows deterministic tables [run, table, state] of its observation [world] -> state.

    chosen: [run, env] which of its run's tables each episode follows. Without it, that is the run's only one, or the
    episodes have one each.
    """
    at = _lookup(tables, observation, chosen)
    by_place = _by_place(tables, observation)
    return lambda _, places: by_place.take(at(places))


def by_policy(policy: Tensor, observation: Tensor, uniforms: Tensor, chosen: Tensor | None = None) -> Player:
    """A player that samples from policies [run, table, state, action] with uniforms [run, env, round].

    chosen: as of `by_table`.
    """
    at = _lookup(policy, observation, chosen)
    by_place = [_by_place(threshold, observation) for threshold in thresholds(policy)]
    draws = array_of(mirrored(uniforms).flatten(1))  # [round, episode]

    def act(t: int, places: Any) -> Any:
        here, drawn = at(places), draws[t]
        later = [drawn >= threshold.take(here) for threshold in by_place]  # than action 0, than action 1, ...
        return later[0] if len(later) == 1 else sum(later)

    return act


def _by_place(by_state: Tensor, observation: Tensor) -> Any:
    """[run, table, state] -> array [run · table · world]."""
    return array_of(by_state.index_select(-1, observation).flatten())


def _lookup(tables: Tensor, observation: Tensor, chosen: Tensor | None) -> Callable[[Any], Any]:
    """From places of episodes to the places of their tables' entries in an array [run · table · world]."""
    (runs, count), worlds = tables.shape[:2], len(observation)
    if count == 1:
        return lambda places: places
    by_run = torch.arange(0, runs * (count - 1) * worlds, (count - 1) * worlds)
    which = torch.arange(count)[:, None] if chosen is None else mirrored(chosen)
    shift = array_of((by_run + worlds * which).flatten())
    return lambda places: places + shift


def informed_follower(game: GameBatch, replies: Tensor, answers: Tensor) -> Player:
    """The deterministic contextual follower, once it knows the leader's answers to the queries.

    replies: [run, context, follower_state] actions; answers: [run, env, leader_state] actions.
    """
    return by_table(replies, game.follower_observation, table_index(answers, game.rows))


def play_rounds(game: GameBatch, envs: int, leader: Player, follower: Player) -> Rounds:
    """Play every round of `envs` episodes a run."""
    start = torch.zeros(game.runs, envs, 1, dtype=torch.int64)
    return play_on(game, start, leader, follower, range(game.rounds))


def play_on(game: GameBatch, worlds: Tensor, leader: Player, follower: Player, rounds: range) -> Rounds:
    """Play some rounds of episodes that stand at world states [run, env, 1]."""
    runs, envs, _ = worlds.shape
    visited = torch.empty(len(rounds) + 1, envs, runs, dtype=torch.int64)
    visited[0] = mirrored(worlds)[0] + game.starts
    places, first_outcome = array_of(visited.flatten(1)), array_of((game.starts + 1).repeat(envs))
    rows = game.rows
    for step, t in enumerate(rounds):
        here, then = places[step], places[step + 1]
        then[:] = first_outcome
        then += rows * follower(t, here)
        then += leader(t, here)
    return Rounds(game, visited)


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
    to_go = mirrored(rewards).clone(memory_format=torch.contiguous_format)
    by_step = array_of(to_go)
    for step in reversed(range(len(by_step) - 1)):
        by_step[step] += by_step[step + 1]
    return mirrored(to_go)
