"""Expected returns of stochastic leader policies against every follower table, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from stackpop.games import LEADER, Game, GameBatch, all_tables, policy_table_returns

CHUNK_ELEMENTS = 2**18  # floats [policy, follower_table, world, player] held at once: they stay in the cache
TOLERANCE = 1e-6  # stated accuracy and allowed follower regret, as a share of the range of returns

Array = NDArray[np.float64]


@dataclass(frozen=True)
class UnitGame:
    """A game with each player's payoffs mapped onto [0, 1], so that one set of tolerances suits all.

    Best responses and optima do not change under the map; `leader_return` maps returns back.
    """

    game: Game

    @cached_property
    def batch(self) -> GameBatch:
        """The game alone, with each player's payoffs scaled to [0, 1]."""
        payoffs = GameBatch.of([self.game]).payoffs
        low, high = payoffs.amin((0, 1, 2)), payoffs.amax((0, 1, 2))
        width = torch.where(high > low, high - low, torch.ones_like(low))
        return GameBatch((payoffs - low) / width, self.game.memory, self.game.rounds)

    @cached_property
    def _replies(self) -> NDArray[np.int64]:
        """The follower's action in each world state, [follower_table, world]."""
        tables = all_tables(self.game.follower_states, self.game.columns)
        return tables[:, self.batch.follower_observation].numpy()

    @cached_property
    def _rewards(self) -> Array:
        """[follower_table, player, world, row] payoffs of a round."""
        payoffs = self.batch.payoffs[0].numpy().transpose(1, 2, 0)  # [column, player, row]
        return np.ascontiguousarray(payoffs[self._replies].transpose(0, 2, 1, 3))

    @cached_property
    def _landings(self) -> NDArray[np.int64]:
        """[follower_table, world, row] the next world state."""
        return 1 + np.arange(self.game.rows) + self.game.rows * self._replies[..., None]

    def returns(self, policies: Array) -> Array:
        """Returns [policy, follower_table, player] of policies [policy, leader_state, row]."""
        chunk = max(1, CHUNK_ELEMENTS // (2 * len(self._replies) * self.batch.worlds))
        parts = torch.from_numpy(policies)[None].split(chunk, dim=1)
        return torch.cat([policy_table_returns(self.batch, part)[0] for part in parts]).numpy()

    def returns_and_gradients(self, policy: Array) -> tuple[Array, Array]:
        """Returns [follower_table, player] of one policy [leader_state, row], and their gradients in it.

        Gradients [follower_table, player, leader_state, row] by the policy gradient theorem (Sutton et
        al., NeurIPS 1999): dV/dp(a|s) = sum_t sum_{w seen as s} d_t(w) Q_t(w, a), where d_t(w) is the
        chance to be in world w at round t and Q_t what follows action a there.
        """
        observed = self.batch.leader_observation.numpy()
        acts = policy[observed]  # [world, row]
        tables, players, worlds, _ = self._rewards.shape
        lookup = np.arange(tables)[:, None, None, None], np.arange(players)[:, None, None], self._landings[:, None]
        follows = []  # a round each, the last first: [follower_table, player, world, row]
        value = np.zeros((tables, players, worlds))
        for _ in range(self.game.rounds):
            follows.append(self._rewards + value[lookup])
            value = (acts * follows[-1]).sum(-1)
        targets = (worlds * np.arange(tables)[:, None, None] + self._landings).ravel()
        chance: Array = np.zeros((tables, worlds))
        chance[:, 0] = 1
        by_world = np.zeros_like(self._rewards)
        for follow in reversed(follows):
            by_world += chance[:, None, :, None] * follow
            moves = chance[..., None] * acts  # [follower_table, world, row]
            arrivals = np.bincount(targets, moves.ravel(), tables * worlds)
            chance = arrivals.reshape(tables, worlds).astype(np.float64, copy=False)
        seen_as = np.eye(policy.shape[0])[observed]  # [world, leader_state]
        return value[..., 0], np.einsum("fpwa,ws->fpsa", by_world, seen_as)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest return the leader can have in an episode of the game itself."""
        payoffs = GameBatch.of([self.game]).payoffs[..., LEADER]
        return self.game.rounds * float(payoffs.min()), self.game.rounds * float(payoffs.max())

    @property
    def tolerance(self) -> float:
        """`TOLERANCE` in returns of the game itself, and never below what rounding can do."""
        low, high = self.bounds
        return TOLERANCE * (high - low) + 1e-12 * max(abs(low), abs(high))

    def leader_return(self, unit_return: float) -> float:
        """A leader's return in the game itself, from its return in the unit game."""
        low, high = self.bounds
        return low + (high - low) * unit_return / self.game.rounds


def onto_simplex(points: Array) -> Array:
    """Euclidean projection of the last axis onto the probability simplex (Held, Wolfe & Crowder 1974)."""
    descending = -np.sort(-points, axis=-1)
    excess = (descending.cumsum(-1) - 1) / np.arange(1, points.shape[-1] + 1)
    kept = (descending > excess).sum(-1, keepdims=True)
    projected: Array = np.maximum(points - np.take_along_axis(excess, kept - 1, -1), 0)
    projected /= projected.sum(-1, keepdims=True)
    return projected
