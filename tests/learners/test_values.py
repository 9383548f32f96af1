"""The value losses, fitted on sums, against autograd of the loss as written: one term a sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stackpop.arrays import mirrored, tensor_of
from stackpop.learners import Batch
from stackpop.learners.tables import Cells
from stackpop.learners.values import ValueGradient, clipped_squared_error, squared_error
from support import random_batch

STATES, ACTIONS, COEFFICIENT = 4, 2, 0.7


def by_autograd(batch: Batch, values: Tensor, clip: float) -> Tensor:
    values = values.clone().requires_grad_()
    error = torch.clamp((values.gather(1, batch.state.flatten(1)) - batch.return_to_go.flatten(1)) ** 2, 0, clip)
    loss = COEFFICIENT * error.mean(1).sum()
    return torch.autograd.grad(loss, values)[0]


def losses(batch: Batch, values: Tensor, clip: float) -> dict[float, ValueGradient]:
    """The gradient of the loss without a clip, and with one."""
    cells, returns = Cells(batch.decision, (ACTIONS, *values.shape)), mirrored(batch.return_to_go)
    visits, totals = (cells.sum(weights).sum(0) / cells.decided for weights in (None, returns))
    return {
        math.inf: squared_error(values, visits, totals, COEFFICIENT),
        clip: clipped_squared_error(values, cells, returns, COEFFICIENT, clip),
    }


def check(batch: Batch, values: Tensor, clip: float = 10.0) -> None:
    """Both losses agree with autograd."""
    for limit, gradient in losses(batch, values, clip).items():
        expected = by_autograd(batch, values, limit)
        torch.testing.assert_close(tensor_of(gradient()), expected, rtol=1e-10, atol=1e-11)


def clipped(batch: Batch, values: Tensor) -> Tensor:
    return tensor_of(losses(batch, values, 10.0)[10.0]())


@pytest.mark.parametrize("seed", range(20))
def test_random_batches_with_unlike_rows(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(generator, 6, 60, STATES, ACTIONS)
    batch.reward.mul_(torch.logspace(-2, 3, 6, dtype=torch.float64)[:, None, None])
    scale = batch.reward.abs().amax(1)
    for factor in (0.0, 0.2, 1.0):
        values = factor * scale * torch.randn(6, STATES, generator=generator, dtype=torch.float64)
        check(batch, values, clip=10.0 ** (seed % 4 - 1))


def test_one_loss_serves_many_values() -> None:
    generator = torch.Generator().manual_seed(1)
    batch = random_batch(generator, 2, 60, STATES, ACTIONS)
    values = torch.zeros(2, STATES, dtype=torch.float64)
    for limit, gradient in losses(batch, values, 10.0).items():
        for _ in range(5):
            values.copy_(5 * torch.randn(2, STATES, generator=generator, dtype=torch.float64))
            expected = by_autograd(batch, values, limit)
            torch.testing.assert_close(tensor_of(gradient()), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("far", [-1e6, -20.0, 20.0, 1e6])
def test_values_far_outside_the_returns_stay_where_they_are(far: float) -> None:
    batch = random_batch(torch.Generator().manual_seed(2), 3, 400, STATES, ACTIONS)
    batch.reward.clamp_(-15, 15)
    values = torch.full((3, STATES), far, dtype=torch.float64)
    values[1] = 0  # a neighbour that does learn
    check(batch, values)
    out = clipped(batch, values)
    assert (out[1] != 0).all()
    if abs(far) > 1000:
        assert (out[[0, 2]] == 0).all()


def test_states_without_samples_have_no_gradient() -> None:
    batch = random_batch(torch.Generator().manual_seed(3), 3, 50, 2, ACTIONS)
    batch.decision.add_(ACTIONS)  # states 0 and 3 are never seen
    values = torch.zeros(3, STATES, dtype=torch.float64)
    check(batch, values)
    out = clipped(batch, values)
    assert (out[:, [0, 3]] == 0).all()


@pytest.mark.parametrize("value", [1.0, 4.0, 7.5])
def test_one_sample(value: float) -> None:
    batch = Batch(torch.tensor([[[2 * ACTIONS]]]), ACTIONS, torch.tensor([[[4.0]]], dtype=torch.float64))
    check(batch, torch.full((1, STATES), value, dtype=torch.float64))


def test_equal_returns() -> None:
    """As in a game that always pays the same: all samples in or all out."""
    batch = random_batch(torch.Generator().manual_seed(4), 4, 30, STATES, ACTIONS)
    batch.reward.fill_(15.0)
    values = torch.tensor([0.0, 13.0, 15.0, 17.0], dtype=torch.float64)[:, None].expand(4, STATES).contiguous()
    check(batch, values)
