"""Leader episodes against followers that learn in them, many side by side, one step after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stackpop.arrays import host_array, tensor_of
from stackpop.games import FOLLOWER, GameBatch
from stackpop.learners.tabular_q.draws import Draws
from stackpop.learners.tabular_q.settings import TabularQSettings
from stackpop.learners.tabular_q.tables import Floats, Integers, QTables


class Lanes:
    """Episodes side by side, or one after another where the table is carried on.

    With `reset` every episode is a lane [run·env]; else a lane is a run, and its episodes follow one another.
    What belongs to a lane stands in one flat array, lane after lane, and is looked up by its *place*: a world's
    is lane · worlds + world, a follower state's lane · follower_states + state.

    Draws stay where they are until their game is played: they are most of the memory. Play is NumPy's, on the CPU: of
    a training on another device, what goes in is copied from there, and what comes out is copied back.
    """

    def __init__(
        self, game: GameBatch, settings: TabularQSettings, leader: Tensor, tables: Tensor, draws: Draws
    ) -> None:
        self._game, self._settings = game, settings
        self._envs = envs = draws.leader.shape[1]
        self._row_count = game.rows
        thresholds = self._spread(_thresholds(game, leader).expand(-1, envs, -1, -1))
        self._thresholds = host_array(thresholds.transpose(1, 2).flatten(2))  # [episode, row - 1, place]
        self._payoffs = host_array(
            self._spread(game.last_rewards[FOLLOWER][:, None].expand(-1, envs, -1))[0].flatten()
        )  # [place]
        self._leader, self._exploration = (host_array(self._spread(x)) for x in (draws.leader, draws.exploration))
        self._episodes, lanes, steps = self._leader.shape
        self._tables = QTables(host_array(self._spread(tables)[0]), settings.alpha, settings.gamma)
        self._learned = np.empty((self._episodes, *self._tables.rows.shape))
        self._outcomes = np.empty((self._episodes, lanes, steps), dtype=np.int32)
        self._start = np.arange(lanes) * game.worlds
        self._first = self._start + 1  # place of the world after outcome 0
        states = torch.arange(lanes)[:, None] * game.follower_states + game.follower_observation
        # Under joint memory a world's place is its state's too: no look-up.
        self._states = None if game.memory == "joint" else host_array(states.flatten())
        # For one game [round, lane], and for one step [lane]; places of this step and of the next take turns.
        self._uniforms = np.empty((game.rounds, lanes))
        self._happened = np.empty((game.rounds, lanes), dtype=np.int64)
        self._worlds, self._places = np.empty((2, 2, lanes), dtype=np.int64)
        self._reward, self._chance = np.empty((2, lanes))
        self._passed = np.empty(lanes, dtype=np.bool_)

    def _spread(self, by_env: Tensor) -> Tensor:
        """[run, env, ...] -> [episode, lane, ...]."""
        return by_env.flatten(0, 1).unsqueeze(0) if self._settings.reset else by_env.transpose(0, 1)

    def _gather(self, by_lane: NDArray[Any], *shape: int) -> Tensor:
        """[episode, lane, ...] -> [run, env, *shape]."""
        tensor = tensor_of(by_lane)
        if self._settings.reset:
            return tensor.view(-1, self._envs, *shape)
        return tensor.view(self._envs, -1, *shape).transpose(0, 1).contiguous()

    def play(self) -> None:
        """Play all episodes; payoffs that overflow raise nothing, as in torch."""
        with np.errstate(over="ignore", invalid="ignore"):
            for episode in range(self._episodes):
                for game in range(self._settings.games):
                    self._play_game(episode, game, learning=True)
                self._play_game(episode, self._settings.games, learning=False)
                self._learned[episode] = self._tables.rows

    def played(self) -> tuple[Tensor, Tensor]:
        """Outcomes [run, env, step] and tables after each episode [run, env, follower_state, column]."""
        outcomes = self._gather(self._outcomes, self._outcomes.shape[-1])
        return outcomes, self._gather(self._learned, self._game.follower_states, self._game.columns)

    def _play_game(self, episode: int, game: int, *, learning: bool) -> None:
        rounds = self._game.rounds
        steps = slice(game * rounds, (game + 1) * rounds)
        np.copyto(self._uniforms, self._leader[episode, :, steps].T)
        noise = self._noise(episode, game) if learning else None
        random = self._random_actions(episode, steps) if learning else None
        world, place = self._start, self._observe(self._start, 0)
        for t in range(rounds):
            reply = self._tables.greedy(place, noise)
            if random is not None:
                np.copyto(reply, random[0][t], where=random[1][t])
            world = self._move(self._thresholds[episode], t, world, reply)
            then = self._observe(world, (t + 1) % 2)
            if learning:
                reward = self._payoffs.take(world, out=self._reward, mode="clip")
                self._tables.learn(place, reply, reward, then if t < rounds - 1 else None)
            place = then
        self._outcomes[episode, :, steps] = self._happened.T

    def _noise(self, episode: int, game: int) -> Floats | None:
        """What a learning game adds to the tables: [place, column]."""
        if self._settings.exploration != "parameter_noise":
            return None
        noise = self._exploration[episode, :, game] * self._settings.noise_sd
        return noise.reshape(-1, self._game.columns)

    def _random_actions(self, episode: int, steps: slice) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
        """A game's random actions and whether they are taken, both [round, lane]."""
        epsilon, columns = self._settings.explore_chance, self._game.columns
        if epsilon == 0:
            return None
        uniforms = np.ascontiguousarray(self._exploration[episode, :, steps].T)
        # One number tells both: below epsilon, its share of epsilon is uniform again.
        share = np.minimum(uniforms, epsilon) / epsilon * columns
        return np.minimum(share, columns - 1).astype(np.int64), uniforms < epsilon

    def _observe(self, world: Integers, turn: int) -> Integers:
        """Places of what the follower observes."""
        return world if self._states is None else self._states.take(world, out=self._places[turn], mode="clip")

    def _move(self, thresholds: Floats, t: int, world: Integers, reply: Integers) -> Integers:
        """Where the leader's action and the reply lead to."""
        outcome: Integers = self._happened[t]
        then: Integers = self._worlds[t % 2]
        np.multiply(reply, self._row_count, out=outcome)
        for threshold in thresholds:
            threshold.take(world, out=self._chance, mode="clip")
            np.add(outcome, np.greater_equal(self._uniforms[t], self._chance, out=self._passed), out=outcome)
        return np.add(outcome, self._first, out=then)


def _thresholds(game: GameBatch, leader: Tensor) -> Tensor:
    """Where a uniform passes to the next action: [run, env or 1, leader_state, row] -> [..., row - 1, world]."""
    return leader.cumsum(-1)[..., :-1].transpose(-1, -2)[..., game.leader_observation]
