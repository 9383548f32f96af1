"""The PPO leader: clipped surrogate, adapted KL penalty and a separate value table, as in RLlib 2.0.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.functions import StateFunctions
from stackpop.learners.networks import NetworkSettings
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import Decisions, logit_gradient, sum_by_cell
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

    def __init__(self, settings: Sequence[PPOSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        self.settings, streams = settings[0], Streams(seeds, Phase.LEADER_INIT)
        lr = torch.tensor([s.lr for s in settings], dtype=torch.float64)
        self._functions = StateFunctions(settings, states, (actions, 1), streams, lr)
        (self.logits, values), (self._logit_gradient, by_value) = self._functions.outputs, self._functions.gradients
        self.values, self._value_gradient = values.squeeze(-1), by_value.squeeze(-1)
        self.policy = torch.softmax(self.logits, -1)  # [run, state, action]
        self._kl_coefficient = torch.full((len(settings), 1, 1), self.settings.kl_coefficient, dtype=lr.dtype)

    def behaviour(self, _envs: int) -> Tensor:
        """What to play next: the policy, in every episode alike."""
        return self.policy[:, None]

    def update(self, batch: Batch) -> None:
        """One PPO update on a batch: all epochs, then the adaptation of the KL coefficient."""
        decisions = batch.decisions
        value_gradient = self._value_loss(decisions)
        before = torch.log_softmax(self.logits, -1)
        gains, losses, visits = self._advantage_sums(decisions)
        kept = visits * before.exp()  # [run, state, action], the weights of the KL divergence
        surrogate = Surrogate(before, gains, losses, self._kl_coefficient * kept, self.settings.clip)
        log_policies = torch.zeros_like(before)  # summed over the epochs
        for _ in range(self.settings.epochs):
            log_policy = torch.log_softmax(self.logits, -1)
            log_policies += log_policy
            surrogate.gradient(log_policy, out=self._logit_gradient)
            value_gradient(self.values, self._value_gradient)
            self._functions.step()
        self.policy = torch.softmax(self.logits, -1)
        # As in RLlib, the mean divergence over the epochs, each measured before its step.
        divergence = kept * (before - log_policies / self.settings.epochs)
        self._adapt(divergence.flatten(1).cumsum(1)[:, -1, None, None])

    def _value_loss(self, decisions: Decisions) -> ValueGradient:
        states, settings = self.values.shape[1], self.settings
        if settings.value_clip is None:
            return squared_error(decisions, states, settings.value_coefficient)
        return clipped_squared_error(decisions, states, settings.value_coefficient, settings.value_clip)

    def _advantage_sums(self, decisions: Decisions) -> tuple[Tensor, Tensor, Tensor]:
        """Mean positive and negative advantage by (state, action), and share of visits by state [run, state, 1].

        Advantages are returns minus values (GAE with lambda = gamma = 1), standardised over the batch.
        """
        runs, states, actions = self.logits.shape
        samples = decisions.state.shape[1]
        advantage = decisions.return_to_go - self.values.gather(1, decisions.state)
        # Running sums, not `mean`, which splits the long batch of a lone run among threads.
        advantage -= advantage.cumsum(1)[:, -1:] / samples
        deviation = ((advantage * advantage).cumsum(1)[:, -1:] / samples).sqrt().clamp_min(1e-4)
        advantage /= deviation * samples
        cells = decisions.state * actions + decisions.action
        gains, losses = (
            sum_by_cell(cells, part, states * actions).view(runs, states, actions)
            for part in (advantage.clamp_min(0), advantage.clamp_max(0))
        )
        return gains, losses, sum_by_cell(decisions.state, None, states)[..., None] / samples

    def _adapt(self, divergence: Tensor) -> None:
        target, coefficient = self.settings.kl_target, self._kl_coefficient
        coefficient[divergence > 2 * target] *= 1.5
        coefficient[divergence < 0.5 * target] *= 0.5


class Surrogate:
    """Minus PPO's clipped surrogate plus the KL penalty, a function of the log-policy [run, state, action].

    The surrogate mean(min(r A, clip(r, 1-c, 1+c) A)) with ratio r = p / p_before is, summed by (state,
    action), gains · min(r, 1+c) + losses · max(r, 1-c), where gains and losses are the mean positive and
    negative advantages. The penalty's weights are coefficient · visits · p_before.
    """

    def __init__(self, before: Tensor, gains: Tensor, losses: Tensor, penalty: Tensor, clip: float) -> None:
        self._before = before
        self._minus_gains, self._minus_losses, self._minus_penalty = -gains, -losses, -penalty
        self._ceiling, self._floor = torch.tensor(1 + clip), torch.tensor(1 - clip)
        self._ratio, self._by_log_policy = torch.empty_like(before), torch.empty_like(before)

    def gradient(self, log_policy: Tensor, out: Tensor) -> None:
        """Gradient in the logits, [run, state, action], into `out`."""
        ratio = torch.sub(log_policy, self._before, out=self._ratio).exp_()
        gradient = torch.mul(self._minus_gains, ratio <= self._ceiling, out=self._by_log_policy)
        gradient.add_(self._minus_losses * (ratio >= self._floor)).mul_(ratio).add_(self._minus_penalty)
        logit_gradient(gradient, log_policy.exp(), out=out)
