"""PPO on sums per (state, action) beside PPO as RLlib 2.0.1 writes it: one loss a sample, by autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stackpop.learners import Batch, PPOLeader, PPOSettings
from support import random_batch

RUNS, STATES, ACTIONS = 3, 4, 3
LEARNING_RATES = (0.0005, 0.008, 0.2)


class NaivePPO:
    """One run of PPO, sample by sample."""

    def __init__(self, settings: PPOSettings, logits: Tensor, values: Tensor) -> None:
        self.settings, self.kl_coefficient = settings, settings.kl_coefficient
        self.logits, self.values = logits.clone().requires_grad_(), values.clone().requires_grad_()
        self._optimiser = torch.optim.Adam([self.logits, self.values], lr=settings.lr, eps=1e-8)

    def update(self, state: Tensor, action: Tensor, returns: Tensor) -> None:
        before = torch.log_softmax(self.logits.detach(), -1)[state]  # [sample, action]
        advantage = returns - self.values.detach()[state]
        advantage = (advantage - advantage.mean()) / max(1e-4, advantage.std(unbiased=False).item())
        epochs = [self._epoch(before, state, action, returns, advantage) for _ in range(self.settings.epochs)]
        divergence = sum(epochs) / len(epochs)
        target = self.settings.kl_target
        self.kl_coefficient *= 1.5 if divergence > 2 * target else 0.5 if divergence < target / 2 else 1

    def _epoch(self, before: Tensor, state: Tensor, action: Tensor, returns: Tensor, advantage: Tensor) -> float:
        now, settings = torch.log_softmax(self.logits, -1)[state], self.settings
        taken = torch.arange(len(state)), action
        ratio = torch.exp(now[taken] - before[taken])
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        surrogate = torch.minimum(advantage * ratio, advantage * clipped)
        divergence = (before.exp() * (before - now)).sum(-1)
        limit = math.inf if settings.value_clip is None else settings.value_clip
        value_loss = torch.clamp((self.values[state] - returns) ** 2, 0, limit)
        loss = -surrogate + self.kl_coefficient * divergence + settings.value_coefficient * value_loss
        self._optimiser.zero_grad()
        loss.mean().backward()
        self._optimiser.step()
        return divergence.mean().item()


def side_by_side(batches: list[Batch], **settings: float | None) -> tuple[PPOLeader, list[NaivePPO]]:
    """A population and as many naive runs from the same start, after the same batches."""
    pack = [PPOSettings.model_validate({"lr": lr, **settings}) for lr in LEARNING_RATES]
    leader = PPOLeader(pack, STATES, ACTIONS, range(RUNS))
    naive = [NaivePPO(pack[run], leader.logits[run], leader.values[run]) for run in range(RUNS)]
    for batch in batches:
        leader.update(batch)
        for run, one in enumerate(naive):
            one.update(batch.state[run, :, 0], batch.action[run, :, 0], batch.reward[run, :, 0])
        check(leader, naive)
    return leader, naive


def check(leader: PPOLeader, naive: list[NaivePPO]) -> None:
    def close(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)

    close(leader.logits, torch.stack([one.logits.detach() for one in naive]))
    close(leader.values, torch.stack([one.values.detach() for one in naive]))
    close(leader._kl_coefficient.flatten(), torch.tensor([one.kl_coefficient for one in naive], dtype=torch.float64))
    close(leader.policy, torch.softmax(leader.logits, -1))


def batches(seed: int, count: int = 8, samples: int = 70) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [random_batch(generator, RUNS, samples, STATES, ACTIONS) for _ in range(count)]


@pytest.mark.parametrize("value_clip", [None, 10.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_several_batches_agree_with_one_loss_a_sample(seed: int, value_clip: float | None) -> None:
    side_by_side(batches(seed), value_clip=value_clip)


def test_other_settings_agree_too() -> None:
    side_by_side(batches(3), value_clip=2.0, clip=0.1, epochs=7, kl_coefficient=3.0, value_coefficient=0.3)


def test_the_kl_coefficient_goes_both_ways() -> None:
    """With the slowest learning rate it falls, with the fastest it rises."""
    slow, _, fast = side_by_side(batches(4), kl_target=0.01, value_clip=None)[0]._kl_coefficient.flatten().tolist()
    assert slow < 0.2 < fast


def test_the_divergence_is_that_before_the_last_step() -> None:
    """With one epoch it is zero, so the coefficient halves however far the step goes."""
    leader, _ = side_by_side(batches(5, count=3), epochs=1)
    assert leader._kl_coefficient.flatten().tolist() == [0.2 / 8] * RUNS


def test_equal_advantages_teach_nothing_but_values() -> None:
    """Their deviation is floored, so that rounding errors are not blown up to advantages of size one."""
    batch = batches(6, count=1)[0]
    batch.reward.fill_(0.1)
    leader = PPOLeader([PPOSettings()] * RUNS, STATES, ACTIONS, [1] * RUNS)
    leader.values.zero_()
    before = leader.logits.clone()
    leader.update(batch)
    # Adam makes steps of what is left, which the penalty then undoes: a tenth of the step of a true advantage is much.
    torch.testing.assert_close(leader.logits, before, rtol=0, atol=0.1 * 30 * 0.008)
    assert (leader.values > 0.05).all()


def test_a_state_that_was_not_seen_keeps_its_logits_and_value() -> None:
    batch = batches(7, count=1)[0]
    batch.decision.remainder_((STATES - 1) * ACTIONS)  # of the other states
    leader = PPOLeader([PPOSettings(value_clip=10.0)] * RUNS, STATES, ACTIONS, [1] * RUNS)
    logits, values = leader.logits[:, -1].clone(), leader.values[:, -1].clone()
    leader.update(batch)
    assert torch.equal(leader.logits[:, -1], logits)
    assert torch.equal(leader.values[:, -1], values)
    assert not torch.equal(leader.logits[:, 0], logits)
