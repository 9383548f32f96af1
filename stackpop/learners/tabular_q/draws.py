"""The random numbers of leader episodes in which a follower learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stackpop.games import GameBatch
from stackpop.learners.streams import normal_quantiles
from stackpop.learners.tabular_q.settings import TabularQSettings

INIT_SD = 0.01


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
            exploration = normal_quantiles(exploration).unflatten(-1, (settings.games, *cells))
        return Draws(
            leader, exploration, normal_quantiles(init).unflatten(-1, cells) if settings.init == "normal" else init
        )


def fresh_tables(game: GameBatch, settings: TabularQSettings, draws: Draws) -> Tensor:
    """Tables before any learning: [run, env, follower_state, column]."""
    if settings.init == "normal":
        return INIT_SD * draws.init
    return torch.zeros(*draws.leader.shape[:2], game.follower_states, game.columns, dtype=torch.float64)
