"""The PPO leader: clipped surrogate, adapted KL penalty and a separate value table, as in RLlib 2.0.1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.arrays import array_of, library_of, mirrored, tensor_of
from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.functions import StateFunctions
from stackpop.learners.networks import NetworkSettings
from stackpop.learners.snapshot import Snapshot
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import Cells, log_softmax, logit_gradient, softmax
from stackpop.learners.values import ValueGradient, clipped_squared_error, squared_error


class PPOSettings(NetworkSettings):
    """Settings of the PPO leader (Schulman et al., 2017; defaults as in the paper's experiments).

    lr: Adam's learning rate. updates: leader updates. batch_steps: environment steps a batch, rounded
    up to whole episodes. epochs: passes over the whole batch. clip: of the probability ratio.
    kl_coefficient, kl_target: penalty at the start, and the divergence it is adapted to.
    value_coefficient: weight of the value loss. value_clip: cap of the squared value error (RLlib's is
    10, which the paper's sweeps set), or null for none. network, hidden: of the policy and of the values, which share
    no parameter; see `NetworkSettings`.
    """

    algorithm: Literal["ppo"] = "ppo"
    lr: PositiveFloat = 0.008
    updates: PositiveInt = 500
    batch_steps: PositiveInt = 1000
    epochs: PositiveInt = 30
    clip: PositiveFloat = 0.3
    kl_coefficient: NonNegativeFloat = 0.2
    kl_target: PositiveFloat = 0.01
    value_coefficient: PositiveFloat = 1.0
    value_clip: PositiveFloat | None = None

    def episodes(self, episode_steps: int) -> int:
        """Leader episodes a batch."""
        return whole_episodes(self.batch_steps, episode_steps)


class PPOLeader:
    """A population of PPO leaders: logits [run, state, action] and values [run, state], from tables or networks.

    Settings other than the learning rate must be equal across the population.
    """

    recordable = True

    def __init__(self, settings: Sequence[PPOSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        self.settings, streams = settings[0], Streams(seeds, Phase.LEADER_INIT)
        lr = torch.tensor([s.lr for s in settings], dtype=torch.float64)
        self._functions = StateFunctions(settings, states, (actions, 1), streams, lr)
        self._logits, (self.values,) = self._functions.outputs  # [action, run, state], [run, state]
        self._logit_gradient, (self._value_gradient,) = map(array_of, self._functions.gradients)
        self.logits = self._logits.movedim(0, -1)
        self._policy = softmax(self.logits)  # [run, state, action]
        self._kl_coefficient = torch.full((len(settings), 1), self.settings.kl_coefficient, dtype=lr.dtype)

    @property
    def policy(self) -> Tensor:
        """See `Leader`."""
        return self._policy.clone()

    def behaviour(self, _envs: int) -> Tensor:
        """What to play next: the policy, in every episode alike."""
        return self._policy[:, None]

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, batch: Batch) -> None:
        """One PPO update on a batch: all epochs, then the adaptation of the KL coefficient."""
        cells, returns = Cells(batch.decision, self._logits.shape), mirrored(batch.return_to_go)
        visits, totals = cells.sum() / cells.decided, cells.sum(returns) / cells.decided
        visited = reduce(torch.add, visits)  # [run, state]
        by_value = self._value_loss(cells, returns, visited, reduce(torch.add, totals))
        gains, losses = self._advantages(cells, returns, visits, totals)
        surrogate = Surrogate(self._logits, gains, losses, self._kl_coefficient * visited, self.settings.clip)
        for _ in range(self.settings.epochs):
            self._logit_gradient[:] = surrogate.gradient()
            self._value_gradient[:] = by_value()
            self._functions.step()
        self._policy.copy_(softmax(self.logits))
        # As in RLlib, the mean divergence over the epochs, each measured before its step.
        self._adapt(_over_cells(visited * surrogate.divergence) / self.settings.epochs)

    def _value_loss(self, cells: Cells, returns: Tensor, visited: Tensor, totals: Tensor) -> ValueGradient:
        coefficient, clip = self.settings.value_coefficient, self.settings.value_clip
        if clip is None:
            return squared_error(self.values, visited, totals, coefficient)
        return clipped_squared_error(self.values, cells, returns, coefficient, clip)

    def _advantages(self, cells: Cells, returns: Tensor, visits: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """Positive and negative advantages, summed by cell and divided by the number of all: [action, run, state] each.

        Advantages are returns minus values (GAE with lambda = gamma = 1), standardised over the batch.
        visits, totals: number of decisions and sum of their returns, in the same way. returns: [step, env, run].
        """
        baseline = self.values + _over_cells(totals - visits * self.values)
        advantage = returns - cells.at(baseline)
        deviation = _over_cells(cells.sum(advantage * advantage) / cells.decided).sqrt().clamp_min(1e-4)
        gains = cells.sum(advantage.clamp_min_(0)) / cells.decided
        return gains / deviation, (totals - visits * baseline - gains) / deviation

    def _adapt(self, divergence: Tensor) -> None:
        target, coefficient = self.settings.kl_target, self._kl_coefficient
        factor = 1 + 0.5 * (divergence > 2 * target).double() - 0.5 * (divergence < 0.5 * target).double()
        coefficient *= factor

    def snapshot(self) -> Snapshot:
        """See `Leader`."""
        return {**self._functions.snapshot(), "kl_coefficient": self._kl_coefficient}

    def restore(self, snapshot: Snapshot) -> None:
        """See `Leader`."""
        self._functions.restore(snapshot)
        self._kl_coefficient.copy_(snapshot["kl_coefficient"])
        self._policy.copy_(softmax(self.logits))


def _over_cells(by_cell: Tensor) -> Tensor:
    """Each run's sum: [action, run, state] or [run, state] -> [run, 1]."""
    # Running sums, not `sum`, which adds in another order for other shapes of the pack.
    by_state = reduce(torch.add, by_cell) if by_cell.dim() > 2 else by_cell
    return by_state.cumsum(1)[:, -1:]


class Surrogate:
    """Minus PPO's clipped surrogate plus the KL penalty, a function of logits [action, run, state].

    The surrogate mean(min(r A, clip(r, 1-c, 1+c) A)) with ratio r = p / p_before is, summed by (state,
    action), gains · min(r, 1+c) + losses · max(r, 1-c), where gains and losses are the mean positive and
    negative advantages. The penalty is that of KL(p_before || p) in each state, weighted by [run, state].

    divergence: that KL of the logits as they were in each call of `gradient`, summed over the calls: [run, state].
    """

    def __init__(self, logits: Tensor, gains: Tensor, losses: Tensor, penalty: Tensor, clip: float) -> None:
        self._xp, self._logits = library_of(logits), array_of(logits)
        self._by_gains, self._by_losses, self._by_both = map(array_of, (-gains, -losses, -(gains + losses)))
        self._before = log_softmax(self._xp, self._logits)
        self._policy_before = self._xp.exp(self._before)
        self._penalty = array_of(-penalty) * self._policy_before
        self._ceiling, self._floor = 1 + clip, 1 - clip
        self._log_ratios = self._xp.zeros_like(self._logits)

    def gradient(self) -> Any:
        """Gradient in the logits, an array [action, run, state]."""
        xp = self._xp
        log_ratio = log_softmax(xp, self._logits) - self._before
        self._log_ratios += log_ratio
        ratio = xp.exp(log_ratio)
        # Where the ratio is clipped, it is constant.
        slope = xp.where(ratio > self._ceiling, self._by_losses, self._by_both)
        slope = xp.where(ratio < self._floor, self._by_gains, slope)
        slope *= ratio
        slope += self._penalty
        return logit_gradient(slope, ratio * self._policy_before)

    @property
    def divergence(self) -> Tensor:
        """See the class."""
        by_action = tensor_of(self._policy_before * -self._log_ratios)
        return reduce(torch.add, by_action.unbind())
