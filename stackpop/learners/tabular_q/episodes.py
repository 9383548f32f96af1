"""The tabular-Q follower at play: leader episodes, and what they hold for the leader to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stackpop.games import LEADER, GameBatch
from stackpop.games.play import Rounds
from stackpop.learners.tabular_q.draws import Draws, fresh_tables
from stackpop.learners.tabular_q.lanes import Lanes
from stackpop.learners.tabular_q.settings import TabularQSettings


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
        return self.game.last_actions[LEADER].index_select(0, 1 + self.outcomes.flatten()).view_as(self.outcomes)

    @cached_property
    def reward(self) -> Tensor:
        """What the leader was paid, offset included; 0 in learning games unless these are paid: [run, env, step]."""
        if self.settings.paid:
            worlds = 1 + self.outcomes.long()
            return self.game.last_rewards[LEADER].gather(1, worlds.flatten(1)).view_as(worlds)
        reward = torch.zeros(self.outcomes.shape, dtype=self.game.payoffs.dtype)
        reward[..., -self.game.rounds :] = self.rounds.leader_rewards
        return reward

    @cached_property
    def rounds(self) -> Rounds:
        """Play of the paid games."""
        worlds = 1 + self.outcomes[..., -self.game.rounds :].long()
        return Rounds.of(self.game, torch.nn.functional.pad(worlds, (1, 0)))


def _worlds_before(outcomes: Tensor, rounds: int) -> Tensor:
    """World state before each step, [run, env, step]: the start in the first round of every game."""
    worlds = torch.zeros_like(outcomes)
    worlds[..., 1:] = 1 + outcomes[..., :-1]
    worlds[..., ::rounds] = 0
    return worlds


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


def learn_and_play(
    game: GameBatch, settings: TabularQSettings, leader: Tensor, tables: Tensor, draws: Draws
) -> LearningEpisodes:
    """Play leader episodes against followers that learn in them.

    Memory is about 30 bytes a lane and step, draws included; some thousand lanes at once are the fastest.
    leader: [run, env or 1, leader_state, row] probabilities; tables: [run, env, follower_state, column]
    that the episodes start from. Without `reset` only the first episode of each run starts from its
    table, and each other one from where the episode before it ended. The caller's tables are kept as they are.
    """
    lanes = Lanes(game, settings, leader, tables, draws)
    lanes.play()
    return LearningEpisodes(game, settings, *lanes.played())
