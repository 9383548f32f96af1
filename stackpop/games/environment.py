"""The leader's problem as a Gymnasium environment, played by the functions that play whole batches.

Importing this module registers `stackpop/Leader-v0`, whose arguments are those of `make_leader`. Against the
exact oracle, for instance:

    from stackpop.equilibria import best_responses
    from stackpop.games import Game, all_tables, named_payoffs

    game = Game(named_payoffs("chicken"))
    replies = all_tables(game.follower_states, game.columns)[best_responses(game).response]
    env = gymnasium.make("stackpop.games.environment:stackpop/Leader-v0", payoffs="chicken", replies=replies)
"""

from __future__ import annotations

from typing import Any, get_args

import gymnasium
import numpy as np
import torch
from torch import Tensor

from stackpop.errors import SpecError, did_you_mean, explain
from stackpop.games.matrices import check_number, check_payoffs, parse_payoffs
from stackpop.games.play import Player, by_table, informed_follower, play_on
from stackpop.games.repeated import Game, GameBatch, Memory, table_index

ENV_ID = "stackpop/Leader-v0"
Step = tuple[np.int64, float, bool, bool, dict[str, Any]]  # observation, reward, terminated, truncated, info


class LeaderEnv(gymnasium.Env[np.int64, np.int64]):
    """A leader against a deterministic contextual follower.

    An episode starts with the queries: the leader observes each of its states once, in order, and acts, unpaid.
    The follower replies to these answers. Under `resample`, the published protocol, the rounds follow, one a
    step, and the leader acts again in each. Under `replay` the answers are all that the leader decides: the step
    that answers the last query plays every round with them, pays the leader's return and ends the episode.

    Observations are leader states and actions are rows; no observation tells a query from a round. After the
    last round the leader observes what that round left in its memory.

    `info` is empty until the last query is answered. From then on it has `context`, the position of the answers
    in `all_tables`, and after a step that played rounds also, as arrays [round] of the rounds of that step,
    `worlds` (the world state before the round), `leader_actions` and `follower_actions`; and `follower_return`,
    the follower's payoffs of the episode so far, offset included.
    """

    def __init__(self, game: Game, replies: object, *, replay: bool = False) -> None:
        """Set up the game against a follower.

        replies: [context, follower_state] actions, as a tensor, an array or nested lists.
        replay: whether the query answers are played as given; otherwise the leader acts again in every round.

        Raises:
            SpecError: `replies` does not fit the game.
        """
        self.game = game
        self.replay = replay
        self.observation_space = gymnasium.spaces.Discrete(game.leader_states)
        self.action_space = gymnasium.spaces.Discrete(game.rows)
        self._batch = GameBatch.of([game])  # one run of one env
        self._replies = _check_replies(replies, game)
        self._over = True  # until the first reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Start an episode at the first query. Nothing is random, and no option is read."""
        super().reset(seed=seed, options=options)
        self._over = False
        self._answers: list[int] = []
        self._world = torch.zeros(1, 1, 1, dtype=torch.int64)
        self._rounds_played = 0
        self._follower_return = 0.0
        return np.int64(0), {}

    def step(self, action: np.int64) -> Step:
        """Answer the next query or play the next round.

        Raises:
            SpecError: `action` is not one of the leader's.
            gymnasium.error.ResetNeeded: the episode is over, or none has begun.
        """
        if self._over:
            raise gymnasium.error.ResetNeeded("no episode is under way: call reset() first")
        if not self.action_space.contains(action):
            expected = f"a whole number from 0 to {self.game.rows - 1}"
            raise SpecError(explain("action", expected=expected, got=repr(action)))
        if len(self._answers) < self.game.leader_states:
            return self._answer(int(action))
        chosen = np.array([int(action)])
        return self._play(lambda _, __: chosen, rounds=1)

    def _answer(self, action: int) -> Step:
        """Take the answer to a query; the last one meets the follower."""
        self._answers.append(action)
        queries_answered = len(self._answers)
        if queries_answered < self.game.leader_states:
            return np.int64(queries_answered), 0.0, False, False, {}
        if self.replay:
            return self._play(by_table(self._table(), self._batch.leader_observation), self.game.rounds)
        return self._observation(), 0.0, False, False, self._context()

    def _play(self, leader: Player, rounds: int) -> Step:
        """Play the next rounds against the follower that knows the answers."""
        follower = informed_follower(self._batch, self._replies, self._table())
        ahead = range(self._rounds_played, self._rounds_played + rounds)
        played = play_on(self._batch, self._world, leader, follower, ahead)
        self._world = played.last_worlds
        self._rounds_played = ahead.stop
        self._over = ahead.stop == self.game.rounds
        self._follower_return += float(played.follower_rewards.sum())
        info = self._context() | {
            "worlds": played.worlds[0, 0].numpy(),
            "leader_actions": played.leader_actions[0, 0].numpy(),
            "follower_actions": played.follower_actions[0, 0].numpy(),
            "follower_return": self._follower_return,
        }
        return self._observation(), float(played.leader_rewards.sum()), self._over, False, info

    def _table(self) -> Tensor:
        """The query answers as the leader's table [run, env, leader_state]."""
        return torch.tensor([[self._answers]])

    def _context(self) -> dict[str, Any]:
        return {"context": int(table_index(self._table(), self.game.rows))}

    def _observation(self) -> np.int64:
        return np.int64(self._batch.leader_observation[self._world].item())


def make_leader(
    payoffs: object,
    replies: object,
    *,
    memory: Memory = Game.memory,
    rounds: int = Game.rounds,
    reward_offset: float = Game.reward_offset,
    replay: bool = False,
) -> LeaderEnv:
    """The environment from plain values; what the registered id calls.

    payoffs: a game's name, text as `parse_payoffs` reads it, or nested sequences [row, column, player].
    replies: [context, follower_state] actions of the follower; contexts are numbered as in `all_tables`.
    memory, rounds, reward_offset: as in `Game`. replay: as in `LeaderEnv`.

    Raises:
        SpecError: a value is not valid; the message names it.
    """
    if memory not in get_args(Memory):
        remedy = did_you_mean(str(memory), get_args(Memory))
        raise SpecError(explain("memory", expected="none, opponent or joint", got=repr(memory), remedy=remedy))
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise SpecError(explain("rounds", expected="a whole number of at least 1", got=repr(rounds)))
    if not isinstance(replay, bool):
        raise SpecError(explain("replay", expected="True or False", got=repr(replay)))
    cells = parse_payoffs(payoffs) if isinstance(payoffs, str) else check_payoffs(payoffs)
    game = Game(cells, memory, rounds, check_number(reward_offset, "reward_offset"))
    return LeaderEnv(game, replies, replay=replay)


def _check_replies(replies: object, game: Game) -> Tensor:
    """Replies [run, context, follower_state] of one run, in memory of their own."""
    shape = (game.leader_tables, game.follower_states)
    expected = f"whole numbers [{game.rows}^{game.leader_states} contexts, {game.follower_states} follower states]"
    try:
        actions = np.asarray(replies)
    except ValueError:  # ragged
        raise SpecError(explain("replies", expected=expected, got="rows of unlike lengths")) from None
    if actions.shape != shape or not np.issubdtype(actions.dtype, np.integer):
        raise SpecError(explain("replies", expected=expected, got=f"{actions.dtype} of shape {list(actions.shape)}"))
    if actions.min() < 0 or actions.max() >= game.columns:
        got = f"some from {actions.min()} to {actions.max()}"
        raise SpecError(explain("replies", expected=f"actions from 0 to {game.columns - 1}", got=got))
    return torch.from_numpy(actions.astype(np.int64))[None]


gymnasium.register(ENV_ID, entry_point=f"{__name__}:make_leader")
