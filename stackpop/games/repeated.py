"""Repeated play of matrix games as pure batched tensor functions.

Between two rounds the *world state* is 0 at the start and 1 + a + rows·b after actions (a, b); each
player observes it through its memory. Several games of one shape are stacked along a leading `run`
axis, and every function here works row by row, so a run's numbers never depend on its neighbours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import array_of, tensor_of
from stackpop.games.matrices import Payoffs

Memory = Literal["none", "opponent", "joint"]
LEADER, FOLLOWER = 0, 1
DTYPE = torch.float64


@dataclass(frozen=True)
class Game:
    """One repeated matrix game.

    payoffs: one round's payoffs [row, column, player], without the offset.
    memory: what both players observe of the last round.
    rounds: rounds an episode.
    reward_offset: added to every player's payoff in every round.
    """

    payoffs: Payoffs
    memory: Memory = "joint"
    rounds: int = 10
    reward_offset: float = -2.5

    @property
    def rows(self) -> int:
        """Number of leader actions."""
        return len(self.payoffs)

    @property
    def columns(self) -> int:
        """Number of follower actions."""
        return len(self.payoffs[0])

    @property
    def leader_states(self) -> int:
        """Number of memory states the leader can observe, the start included."""
        return _states(self.memory, self.columns, self.rows * self.columns)

    @property
    def follower_states(self) -> int:
        """Number of memory states the follower can observe, the start included."""
        return _states(self.memory, self.rows, self.rows * self.columns)

    @property
    def leader_tables(self) -> int:
        """Number of deterministic leader tables, which is also the number of contexts a follower can see."""
        return int(self.rows**self.leader_states)

    @property
    def follower_tables(self) -> int:
        """Number of deterministic follower tables."""
        return int(self.columns**self.follower_states)

    @property
    def episode_steps(self) -> int:
        """Environment steps of a leader episode: one query a state, then the rounds."""
        return self.leader_states + self.rounds


@dataclass(frozen=True)
class GameBatch:
    """Games of one shape (actions, memory, rounds), stacked along `run`.

    payoffs: [run, row, column, player], the reward offset included.
    """

    payoffs: Tensor
    memory: Memory
    rounds: int

    @staticmethod
    def of(games: Sequence[Game]) -> GameBatch:
        """Stack games that share actions, memory and rounds."""
        shapes = {(g.rows, g.columns, g.memory, g.rounds) for g in games}
        if len(shapes) != 1:
            raise ValueError(f"games of one batch must share actions, memory and rounds, got {sorted(shapes)}")
        payoffs = np.array([g.payoffs for g in games], dtype=np.float64)
        payoffs += np.array([g.reward_offset for g in games])[:, None, None, None]
        return GameBatch(tensor_of(payoffs), games[0].memory, games[0].rounds)

    def repeat(self, times: int) -> GameBatch:
        """Each game so many times in a row."""
        return GameBatch(self.payoffs.repeat_interleave(times, 0), self.memory, self.rounds)

    @property
    def runs(self) -> int:
        """Number of games."""
        return self.payoffs.shape[0]

    @property
    def rows(self) -> int:
        """Number of leader actions."""
        return self.payoffs.shape[1]

    @property
    def columns(self) -> int:
        """Number of follower actions."""
        return self.payoffs.shape[2]

    @property
    def worlds(self) -> int:
        """Number of world states: the start and one for each pair of actions."""
        return 1 + self.rows * self.columns

    @property
    def leader_states(self) -> int:
        """Number of memory states the leader can observe, the start included."""
        return _states(self.memory, self.columns, self.rows * self.columns)

    @property
    def follower_states(self) -> int:
        """Number of memory states the follower can observe, the start included."""
        return _states(self.memory, self.rows, self.rows * self.columns)

    @cached_property
    def leader_observation(self) -> Tensor:
        """What the leader observes in each world state, [world] -> leader state."""
        return _observation(self.memory, self.rows, self.columns)[LEADER]

    @cached_property
    def follower_observation(self) -> Tensor:
        """What the follower observes in each world state, [world] -> follower state."""
        return _observation(self.memory, self.rows, self.columns)[FOLLOWER]

    @cached_property
    def starts(self) -> Tensor:
        """Where each run's world states begin, if those of all runs stand in one row: [run]."""
        return torch.arange(0, self.runs * self.worlds, self.worlds)

    @cached_property
    def last_rewards(self) -> tuple[Tensor, Tensor]:
        """What leader and follower were paid in the round that led to each world state, two tensors [run, world].

        At the start, before any round, that is 0.
        """
        by_outcome = self.payoffs.transpose(1, 2).flatten(1, 2)  # [run, outcome, player]
        leader, follower = torch.nn.functional.pad(by_outcome, (0, 0, 1, 0)).unbind(-1)
        return leader.contiguous(), follower.contiguous()

    @cached_property
    def last_actions(self) -> tuple[Tensor, Tensor]:
        """What leader and follower did in the round that led to each world state: two of [world], 0 at the start."""
        return _last_actions(self.rows, self.columns)


def _states(memory: Memory, opposing_actions: int, outcomes: int) -> int:
    """Number of memory states a player can observe, the start included."""
    return {"none": 1, "opponent": 1 + opposing_actions, "joint": 1 + outcomes}[memory]


def _observation(memory: Memory, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Leader's and follower's observation of each world state, two tensors [world]."""
    worlds = torch.arange(1 + rows * columns)
    if memory == "none":
        return torch.zeros_like(worlds), torch.zeros_like(worlds)
    if memory == "joint":
        return worlds, worlds
    last_row, last_column = _last_actions(rows, columns)
    begun = (worlds > 0).long()
    return last_column + begun, last_row + begun


def _last_actions(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Leader's and follower's action in the round that led to each world state, [world] each; 0 at the start."""
    last_outcome = (torch.arange(1 + rows * columns) - 1).clamp_min(0)
    return last_outcome % rows, last_outcome // rows


def all_tables(states: int, actions: int) -> Tensor:
    """Every deterministic table [table, state] -> action, in lexicographic order (state 0 most significant).

    The tensor is shared between callers on one device: it is not to be written to.
    """
    return _all_tables(states, actions, torch.get_default_device())


@lru_cache(maxsize=64)
def _all_tables(states: int, actions: int, _device: torch.device) -> Tensor:
    return torch.tensor(list(itertools.product(range(actions), repeat=states)), dtype=torch.int64)


def table_index(tables: Tensor, actions: int) -> Tensor:
    """Position in `all_tables` of each table: [..., state] -> [...]."""
    return reduce(lambda index, action: index * actions + action, tables.unbind(-1))


@np.errstate(all="ignore")  # as in PyTorch
def table_returns(game: GameBatch, leader: Tensor, follower: Tensor) -> Tensor:
    """Returns of deterministic tables played against each other.

    leader: [run, ..., leader_state] actions; follower: [run, ..., follower_state] actions; the middle
    axes, as many in both, broadcast. Result: [run, ..., player], one episode's undiscounted return.
    """
    leader_acts = leader.index_select(-1, game.leader_observation)  # [run, ..., world]
    follower_acts = follower.index_select(-1, game.follower_observation)
    then = 1 + leader_acts + game.rows * follower_acts  # [run, ..., world] -> world
    pairs = (game.runs, *then.shape[1:-1])
    # All pairs stand in one row, and each one's worlds at places of their own: pair · worlds + world.
    start = torch.arange(0, math.prod(pairs) * game.worlds, game.worlds)
    then = (then.expand(*pairs, game.worlds).reshape(-1, game.worlds) + start[:, None]).flatten()
    rewards = [array_of(by_world.flatten()) for by_world in game.last_rewards]  # a player each: [run · world]
    run = torch.arange(game.runs).repeat_interleave(len(start) // game.runs)
    next_place, place, to_reward = map(array_of, (then, start, game.worlds * run - start))
    returns = torch.zeros(2, len(start), dtype=game.payoffs.dtype)
    totals = array_of(returns)
    for _ in range(game.rounds):
        place = next_place.take(place)
        for total, paid in zip(totals, rewards, strict=True):
            total += paid.take(place + to_reward)
    return returns.view(2, *pairs).movedim(0, -1)


def expected_returns(game: GameBatch, leader: Tensor, follower: Tensor) -> Tensor:
    """Exact expected returns of stochastic policies, by backward recursion over the world states.

    leader: [run, ..., leader_state, row] and follower: [run, ..., follower_state, column] probabilities;
    the middle axes, as many in both, broadcast. Result: [run, ..., player].

    With V_T = 0 and V_t(w) = sum over (a, b) of p(a|w) q(b|w) (r(a, b) + V_{t+1}(1 + a + rows·b)).
    """
    acts = leader[..., game.leader_observation, :]  # [run, ..., world, row]
    replies = follower[..., game.follower_observation, :]  # [run, ..., world, column]
    middle = np.broadcast_shapes(acts.shape[1:-2], replies.shape[1:-2])
    rewards = game.payoffs.reshape(game.runs, *[1] * len(middle), game.rows, game.columns, 2)
    value = torch.zeros(game.runs, *middle, game.worlds, 2, dtype=game.payoffs.dtype)
    for _ in range(game.rounds):
        now = torch.zeros_like(value)
        # Adding outcome by outcome, not by a matrix product, keeps each run's bits free of the batch's size.
        for b in range(game.columns):
            for a in range(game.rows):
                chance = (acts[..., a] * replies[..., b])[..., None]  # [run, ..., world, 1]
                then = rewards[..., a, b, :] + value[..., 1 + a + game.rows * b, :]  # [run, ..., player]
                now = now + chance * then[..., None, :]
        value = now
    return value[..., 0, :]


def policy_table_returns(game: GameBatch, policy: Tensor) -> Tensor:
    """Exact returns of stochastic leaders against every deterministic follower table.

    policy: [run, policy, leader_state, row]; result: [run, policy, follower_table, player].
    By backward recursion: V_t(w) = sum over a of p(a|w) (r(a, b) + V_{t+1}(1 + a + rows·b)), b = table(w).

    Only the first round meets the start, so the rounds after it are alike for all tables that differ there alone.
    """
    runs, policies = policy.shape[:2]
    tables = all_tables(game.follower_states, game.columns)[:, game.follower_observation]  # [table, world]
    later = game.columns ** max(1, game.follower_states - 1)  # how many differ after the start: those that come first
    after = torch.arange(game.rows)[:, None, None] + game.rows * tables.T  # [row, world, table] -> outcome
    place = after * later + torch.arange(len(tables)) % later  # in [outcome · later]
    chance = policy.index_select(2, game.leader_observation)  # [run, policy, world, row]
    chance = chance.permute(3, 2, 0, 1).flatten(2)  # [row, world, run · policy]
    rewards = game.payoffs.permute(3, 2, 1, 0).flatten(1, 2).repeat_interleave(policies, -1).unsqueeze(2)
    value = torch.zeros(2, game.worlds - 1, later, runs * policies, dtype=policy.dtype)  # [player, outcome, later, ...]
    for _ in range(game.rounds - 1):
        value = _expected(rewards + value, chance[:, 1:], place[:, 1:, :later])
    value = _expected(rewards + value, chance[:, :1], place[:, :1]).squeeze(1)
    return value.view(2, len(tables), runs, policies).permute(2, 3, 1, 0)


def _expected(then: Tensor, chance: Tensor, place: Tensor) -> Tensor:
    """Mean over the leader's actions of what comes then: [player, world, table, run · policy].

    then: [player, outcome, table, run · policy]; chance: [row, world, run · policy]; place: [row, world, table], of
    the outcome and table that follow, in one row.
    """
    by_place = then.flatten(1, 2)
    parts = (
        chance_of.unsqueeze(1) * by_place.index_select(1, places.flatten()).view(2, *places.shape, -1)
        for chance_of, places in zip(chance, place, strict=True)
    )
    mean: Tensor = reduce(torch.add, parts)
    return mean
