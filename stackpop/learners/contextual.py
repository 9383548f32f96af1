"""The contextual follower: a policy-gradient learner that sees the leader's answers to all queries.

It is pretrained against random leaders until it best-responds to every one of them at once, then
frozen and greedy. Its policy is a table with a row for every context, or a network that is given the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.arrays import mirrored
from stackpop.games import Game, GameBatch
from stackpop.games.play import at_context
from stackpop.learners.adam import Adam, spread
from stackpop.learners.networks import (
    NetworkSettings,
    backward,
    forward,
    fresh_layers,
    layer_shapes,
    parameter_count,
)
from stackpop.learners.streams import Streams
from stackpop.learners.tables import (
    Cells,
    first_of_largest,
    normalised_init,
    reinforce_gradient,
    softmax,
    sum_by_cell,
)


class ContextualSettings(NetworkSettings):
    """Settings of the contextual follower.

    lr: Adam's learning rate. updates: most pretraining updates. batch_steps: environment steps a
    batch, query steps included, rounded up to whole episodes. early_stop: stop once it best-responds
    exactly to every leader table; where they are too many to tell, all updates are made. post_updates:
    follower updates against the final leader, after the leader's training. max_regret: leaders start only
    if the trained follower's regret is at most this against every leader table that it is judged by, in
    payoff an episode; null for any. network, hidden: a table, with rows for each of the leader's tables, or
    a network from the leader's answers, one-hot, to the logits in every state; see `NetworkSettings`.
    """

    oracle: Literal["contextual"] = "contextual"
    lr: PositiveFloat = 0.02
    updates: PositiveInt = 500
    batch_steps: PositiveInt = 100
    early_stop: bool = True
    post_updates: NonNegativeInt = 50
    max_regret: NonNegativeFloat | None = None

    @property
    def stored_as(self) -> str:
        """The result that holds what one follower learned."""
        return "follower_logits" if self.network == "table" else "follower_parameters"

    def sizes(self, game: Game | GameBatch) -> tuple[int, ...]:
        """Sizes of a network's layers in a game: inputs, hidden layers and outputs."""
        return (game.leader_states * game.rows, *self.hidden_sizes, game.follower_states * game.columns)

    def parameter_shape(self, game: Game) -> tuple[int, ...]:
        """Shape of what one follower learns: a table [context, state, action], or a network's [parameter]."""
        if self.network == "table":
            return game.leader_tables, game.follower_states, game.columns
        return (parameter_count(self.sizes(game)),)


class ContextualFollower(Protocol):
    """A population of contextual followers.

    parameters: what they learned, [run, *parameter_shape]. What a follower makes of the leader's answers is a
    *context*, a tensor [run, env, ...] (or [1, env, ...], if alike for all runs) that `contexts` makes of them.
    """

    parameters: Tensor

    def contexts(self, answers: Tensor) -> Tensor:
        """Contexts of answers [run, env, leader_state]."""

    def policy_at(self, contexts: Tensor) -> Tensor:
        """Action probabilities in some contexts: [run, env, state, action]."""

    def replies_at(self, contexts: Tensor) -> Tensor:
        """Greedy actions in some contexts, of equal ones the first: [run, env, state]."""

    def update(self, contexts: Tensor, decision: Tensor, return_to_go: Tensor) -> None:
        """One REINFORCE update: contexts of a batch; decision, return_to_go [run, env, round].

        A decision is the number state · actions + action.
        """


class ContextualTables:
    """Followers with tables of logits [run, context, state, action]; a context is an index in `all_tables`.

    Settings other than the learning rate must be equal across the population.
    """

    def __init__(self, settings: Sequence[ContextualSettings], logits: Tensor, game: GameBatch) -> None:
        self._logits = logits.movedim(-1, 0).contiguous()  # [action, run, context, state]
        self._places = game.rows ** torch.arange(game.leader_states).flip(0)  # of each answer in a context's number
        self._lr = torch.tensor([s.lr for s in settings], dtype=logits.dtype)
        self.parameters = self._logits.movedim(0, -1)

    @cached_property
    def _adam(self) -> Adam:
        return Adam(self._logits, self._lr[:, None, None].expand_as(self._logits))

    def contexts(self, answers: Tensor) -> Tensor:
        """Indices [run, env], those of `stackpop.games.table_index`."""
        return (answers * self._places).sum(-1)

    def policy_at(self, contexts: Tensor) -> Tensor:
        """See `ContextualFollower`."""
        _, runs, count, states = self._logits.shape
        rows = contexts + torch.arange(0, runs * count, count)[:, None]  # [run, env]
        logits = self._logits.flatten(1, 2).index_select(1, rows.flatten())
        return softmax(logits.view(-1, *rows.shape, states).movedim(0, -1))

    def replies_at(self, contexts: Tensor) -> Tensor:
        """See `ContextualFollower`."""
        return at_context(first_of_largest(self.parameters), contexts)

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, contexts: Tensor, decision: Tensor, return_to_go: Tensor) -> None:
        """See `ContextualFollower`."""
        first = contexts * self.parameters[0, 0].numel()  # each state in each context has cells of its own
        cells = Cells(decision + first[..., None], self._logits.flatten(2).shape)
        returns = cells.sum(mirrored(return_to_go))
        policy = softmax(self.parameters).movedim(-1, 0)
        self._adam.gradient[:] = reinforce_gradient(policy, returns.view_as(policy), cells.decided)
        self._adam.step()


class ContextualNetworks:
    """Followers with networks, parameters [run, parameter]; a context is the answers, one-hot.

    A network gives the logits in all states at once: fed with the state as well, it would first have to find out which
    of the answers concern that state. And it learns from returns less their mean over the batch: what it learns in one
    context changes all others, and without that baseline it settles on one action before it can tell contexts apart.
    Settings other than the learning rate must be equal across the population.
    """

    def __init__(self, settings: Sequence[ContextualSettings], parameters: Tensor, game: GameBatch) -> None:
        self.parameters, self._states, self._rows = parameters, game.follower_states, game.rows
        shapes = layer_shapes(settings[0].sizes(game))
        pieces = parameters.split([inputs * outputs for inputs, outputs in shapes], 1)
        self._layers = [piece.unflatten(1, shape) for piece, shape in zip(pieces, shapes, strict=True)]
        self._adam = Adam(
            parameters, spread(torch.tensor([s.lr for s in settings], dtype=parameters.dtype), parameters)
        )

    def contexts(self, answers: Tensor) -> Tensor:
        """One-hot answers and a 1, [run, env, leader_state · row + 1]."""
        one_hot = torch.nn.functional.one_hot(answers, self._rows).flatten(-2)
        return torch.nn.functional.pad(one_hot, (0, 1), value=1).to(self.parameters.dtype)

    def policy_at(self, contexts: Tensor) -> Tensor:
        """See `ContextualFollower`."""
        return torch.softmax(self._by_state(self._forward(contexts)[-1]), -1)

    def replies_at(self, contexts: Tensor) -> Tensor:
        """See `ContextualFollower`."""
        return self._by_state(self._forward(contexts)[-1]).argmax(-1)

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, contexts: Tensor, decision: Tensor, return_to_go: Tensor) -> None:
        """See `ContextualFollower`. Episodes take the place of a table's contexts; their logits are [run, env, ...]."""
        *fed, outputs = self._forward(contexts)
        policy = torch.softmax(self._by_state(outputs), -1)
        runs, envs, states, actions = policy.shape
        advantage = return_to_go - return_to_go.cumsum(1)[:, -1:] / envs
        cells = (torch.arange(0, policy[0].numel(), states * actions)[:, None] + decision).flatten(1)
        returns = sum_by_cell(cells, advantage.flatten(1), policy[0].numel()).view_as(policy)
        by_action = reinforce_gradient(policy.movedim(-1, 0), returns.movedim(-1, 0), cells.shape[1])
        by_output = by_action.movedim(0, -1).flatten(2)
        by_layer = backward(self._layers, fed, by_output)
        torch.cat([each.reshape(runs, -1) for each in by_layer], 1, out=self._adam.gradient)
        self._adam.step()

    def _forward(self, contexts: Tensor) -> list[Tensor]:
        return forward(self._layers, contexts.expand(len(self.parameters), -1, -1))

    def _by_state(self, outputs: Tensor) -> Tensor:
        """[run, env, state · action] -> [run, env, state, action]."""
        return outputs.view(*outputs.shape[:2], self._states, -1)


def fresh_parameters(settings: ContextualSettings, game: GameBatch, streams: Streams) -> Tensor:
    """What followers start from, [run, *parameter_shape]."""
    states, columns = game.follower_states, game.columns
    if settings.network == "table":
        contexts = game.rows**game.leader_states
        return normalised_init(streams.normal(contexts * states, columns)).view(-1, contexts, states, columns)
    layers = fresh_layers(streams, settings.sizes(game))
    return torch.cat([layer.flatten(1) for layer in layers], 1)


def make_followers(settings: Sequence[ContextualSettings], parameters: Tensor, game: GameBatch) -> ContextualFollower:
    """A population with these parameters, [run, *parameter_shape]; it owns them from now on."""
    if settings[0].network == "table":
        return ContextualTables(settings, parameters, game)
    return ContextualNetworks(settings, parameters, game)
