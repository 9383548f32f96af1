"""The tabular-Q follower: a one-step Q-learner that learns anew from games inside every leader episode.

A leader episode is a chain of learning games, in which the follower explores and updates its table
(Watkins, 1989), and one paid game, in which it is greedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from stackpop.games import FOLLOWER, LEADER, GameBatch
from stackpop.games.play import Rounds
from stackpop.learners.q_tables import Floats, Integers, QTables
from stackpop.settings import Settings

INIT_SD = 0.01
EPSILON = 0.1
NOISE = 0.1
SMALLEST_UNIFORM = 2.0**-54  # stands in for 0, whose normal quantile is -inf

UnitInterval = Annotated[float, Field(ge=0, le=1)]
StepSize = Annotated[float, Field(gt=0, le=1)]


class TabularQSettings(Settings):
    """Settings of the tabular-Q follower.

    games: learning games in each leader episode, before the paid one. alpha: step size of an update.
    gamma: discount of the next round. init: a fresh table is normal of standard deviation 0.01, or zero.
    exploration: in learning games the follower takes a random action with chance `epsilon`, or it is
    greedy in its table plus Gaussian noise of standard deviation `noise`, drawn once a game. epsilon,
    noise: null means 0.1; each belongs to its own exploration. reset: a fresh table in every leader
    episode; otherwise the table is carried on from the episode before, also from one batch to the next.
    paid: the leader is paid for learning games too.
    """

    oracle: Literal["tabular_q"] = "tabular_q"
    games: PositiveInt = 80
    alpha: StepSize = 0.1
    gamma: UnitInterval = 0.9
    init: Literal["normal", "zeros"] = "normal"
    exploration: Literal["epsilon_greedy", "parameter_noise"] = "epsilon_greedy"
    epsilon: UnitInterval | None = None
    noise: NonNegativeFloat | None = None
    reset: bool = True
    paid: bool = False

    @property
    def explore_chance(self) -> float:
        """The epsilon in effect: 0 under parameter noise."""
        if self.exploration != "epsilon_greedy":
            return 0.0
        return EPSILON if self.epsilon is None else self.epsilon

    @property
    def noise_sd(self) -> float:
        """Standard deviation in effect of the noise on the table: 0 under epsilon-greedy."""
        if self.exploration != "parameter_noise":
            return 0.0
        return NOISE if self.noise is None else self.noise


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch of leader episodes.

    leader: [run, env, step] uniforms that choose the leader's actions.
    exploration: under epsilon-greedy uniforms [run, env, learning step], under parameter noise standard
        normals [run, env, game, follower_state, column].
    init: [run, env, follower_state, column] standard normals of a fresh table; empty where it is zero.
    """

    leader: Tensor
    exploration: Tensor
    init: Tensor

    @staticmethod
    def sizes(game: GameBatch, settings: TabularQSettings) -> tuple[int, int, int]:
        """How many numbers an episode uses: for the leader, for exploration, for a fresh table."""
        cells, learning = game.follower_states * game.columns, settings.games * game.rounds
        exploration = learning if settings.exploration == "epsilon_greedy" else settings.games * cells
        return learning + game.rounds, exploration, cells if settings.init == "normal" else 0

    @staticmethod
    def of(game: GameBatch, settings: TabularQSettings, uniforms: Tensor) -> Draws:
        """Split uniforms [run, env, number], `sum(Draws.sizes(...))` numbers an episode.

        Normals too are made from uniforms, so that an episode's numbers lie in one row and drawing many
        episodes at once, or one after another, gives the same.
        """
        leader, exploration, init = uniforms.split(Draws.sizes(game, settings), -1)
        cells = game.follower_states, game.columns
        if settings.exploration == "parameter_noise":
            exploration = _normal(exploration).unflatten(-1, (settings.games, *cells))
        return Draws(leader, exploration, _normal(init).unflatten(-1, cells) if settings.init == "normal" else init)


def _normal(uniforms: Tensor) -> Tensor:
    """Standard normal numbers, by inversion."""
    quantiles: Tensor = torch.special.ndtri(uniforms.clamp_min(SMALLEST_UNIFORM))
    return quantiles


@dataclass(frozen=True)
class LearningEpisodes:
    """Leader episodes, each of some learning games and a paid one; a step is a round of any of them.

    game, settings: what was played, and how.
    outcomes: [run, env, step] pair of actions a + rows·b, int32.
    tables: [run, env, follower_state, column] the follower's table after each episode.
    """

    game: GameBatch
    settings: TabularQSettings
    outcomes: Tensor
    tables: Tensor

    @cached_property
    def state(self) -> Tensor:
        """What the leader observed before each step: [run, env, step]."""
        worlds = _worlds_before(self.outcomes, self.game.rounds)
        return self.game.leader_observation.index_select(0, worlds.flatten()).view_as(worlds)

    @cached_property
    def action(self) -> Tensor:
        """What the leader did: [run, env, step]."""
        row_of = torch.arange(self.game.rows).repeat(self.game.columns)  # [outcome]
        return row_of.index_select(0, self.outcomes.flatten()).view_as(self.outcomes)

    @cached_property
    def reward(self) -> Tensor:
        """What the leader was paid, offset included; 0 in learning games unless these are paid: [run, env, step]."""
        if self.settings.paid:
            return _payoffs(self.game, LEADER, self.outcomes)
        reward = torch.zeros(self.outcomes.shape, dtype=self.game.payoffs.dtype)
        reward[..., -self.game.rounds :] = self.rounds.leader_rewards
        return reward

    @cached_property
    def rounds(self) -> Rounds:
        """Play of the paid games."""
        worlds = 1 + self.outcomes[..., -self.game.rounds :].long()
        return Rounds(self.game, torch.nn.functional.pad(worlds, (1, 0)))


def _worlds_before(outcomes: Tensor, rounds: int) -> Tensor:
    """World state before each step, [run, env, step]: the start in the first round of every game."""
    worlds = torch.zeros_like(outcomes)
    worlds[..., 1:] = 1 + outcomes[..., :-1]
    worlds[..., ::rounds] = 0
    return worlds


def _payoffs(game: GameBatch, player: int, outcomes: Tensor) -> Tensor:
    """A player's payoff in each outcome, [run, env, step]."""
    by_outcome = game.payoffs[..., player].transpose(1, 2).flatten(1)
    return by_outcome.gather(1, outcomes.flatten(1).long()).view_as(outcomes)


class TabularQFollower:
    """A population of tabular-Q followers, all with the same settings.

    tables: [run, 1, follower_state, column] at the end of the last episode played, or None before the
    first; the next episode starts from there unless the settings reset the tables.
    """

    def __init__(self, game: GameBatch, settings: TabularQSettings, tables: Tensor | None = None) -> None:
        self.tables = tables
        self._game, self._settings = game, settings

    @property
    def numbers(self) -> int:
        """How many uniforms an episode uses."""
        return sum(Draws.sizes(self._game, self._settings))

    def play(self, leader: Tensor, uniforms: Tensor) -> LearningEpisodes:
        """Play leader episodes.

        leader: [run, env or 1, leader_state, row] probabilities; uniforms: [run, env, number].
        """
        draws = Draws.of(self._game, self._settings, uniforms)
        tables = self.tables
        if tables is None or self._settings.reset:
            tables = fresh_tables(self._game, self._settings, draws)
        episodes = learn_and_play(self._game, self._settings, leader, tables, draws)
        self.tables = episodes.tables[:, -1:]
        return episodes


def fresh_tables(game: GameBatch, settings: TabularQSettings, draws: Draws) -> Tensor:
    """Tables before any learning: [run, env, follower_state, column]."""
    if settings.init == "normal":
        return INIT_SD * draws.init
    return torch.zeros(*draws.leader.shape[:2], game.follower_states, game.columns, dtype=torch.float64)


def learn_and_play(
    game: GameBatch, settings: TabularQSettings, leader: Tensor, tables: Tensor, draws: Draws
) -> LearningEpisodes:
    """Play leader episodes against followers that learn in them.

    Memory is about 30 bytes a lane and step, draws included; some thousand lanes at once are the fastest.
    leader: [run, env or 1, leader_state, row] probabilities; tables: [run, env, follower_state, column]
    that the episodes start from. Without `reset` only the first episode of each run starts from its
    table, and each other one from where the episode before it ended. The caller's tables are kept as they are.
    """
    lanes = _Lanes(game, settings, leader, tables, draws)
    lanes.play()
    return LearningEpisodes(game, settings, *lanes.played())


class _Lanes:
    """Episodes side by side, or one after another where the table is carried on.

    With `reset` every episode is a lane [run·env]; else a lane is a run, and its episodes follow one another.
    What belongs to a lane stands in one flat array, lane after lane, and is looked up by its *place*: a world's
    is lane · worlds + world, a follower state's lane · follower_states + state.

    Draws stay where they are until their game is played: they are most of the memory.
    """

    def __init__(
        self, game: GameBatch, settings: TabularQSettings, leader: Tensor, tables: Tensor, draws: Draws
    ) -> None:
        self._game, self._settings = game, settings
        self._envs = envs = draws.leader.shape[1]
        self._row_count = game.rows
        thresholds = self._spread(_thresholds(game, leader).expand(-1, envs, -1, -1))
        self._thresholds = thresholds.transpose(1, 2).flatten(2).numpy()  # [episode, row - 1, place]
        self._payoffs = self._spread(_follower_payoffs(game).expand(-1, envs, -1))[0].flatten().numpy()  # [place]
        self._leader, self._exploration = (self._spread(x).numpy() for x in (draws.leader, draws.exploration))
        self._episodes, lanes, steps = self._leader.shape
        self._tables = QTables(self._spread(tables)[0].numpy(), settings.alpha, settings.gamma)
        self._learned = np.empty((self._episodes, *self._tables.rows.shape))
        self._outcomes = np.empty((self._episodes, lanes, steps), dtype=np.int32)
        self._start = np.arange(lanes) * game.worlds
        self._first = self._start + 1  # place of the world after outcome 0
        states = torch.arange(lanes)[:, None] * game.follower_states + game.follower_observation
        # Under joint memory a world's place is its state's too: no look-up.
        self._states = None if game.memory == "joint" else states.flatten().numpy()
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
        tensor = torch.from_numpy(by_lane)
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


def _follower_payoffs(game: GameBatch) -> Tensor:
    """The follower's payoff on the way to each world state, [run, 1, world]; 0 for the start."""
    by_outcome = game.payoffs[..., FOLLOWER].transpose(1, 2).flatten(1)
    return torch.nn.functional.pad(by_outcome, (1, 0)).unsqueeze(1)
