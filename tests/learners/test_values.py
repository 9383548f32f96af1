"""The value losses, fitted on sums, against autograd of the loss as written: one term a sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stackpop.learners import Decisions
from stackpop.learners.values import clipped_squared_error, squared_error
from support import random_batch

STATES, COEFFICIENT = 4, 0.7


def by_autograd(decisions: Decisions, values: Tensor, clip: float) -> Tensor:
    values = values.clone().requires_grad_()
    error = torch.clamp((values.gather(1, decisions.state) - decisions.return_to_go) ** 2, 0, clip)
    loss = COEFFICIENT * error.mean(1).sum()
    return torch.autograd.grad(loss, values)[0]


def check(decisions: Decisions, values: Tensor, clip: float = 10.0) -> None:
    """Both losses agree with autograd, whatever was in the output tensor before."""
    losses = {
        torch.inf: squared_error(decisions, STATES, COEFFICIENT),
        clip: clipped_squared_error(decisions, STATES, COEFFICIENT, clip),
    }
    for limit, gradient in losses.items():
        out = torch.full_like(values, torch.nan)
        gradient(values, out)
        torch.testing.assert_close(out, by_autograd(decisions, values, limit), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_random_batches_with_unlike_rows(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    decisions = random_batch(generator, 6, 60, STATES, 2).decisions
    decisions.return_to_go.mul_(torch.logspace(-2, 3, 6, dtype=torch.float64)[:, None])
    scale = decisions.return_to_go.abs().amax(1, keepdim=True)
    for factor in (0.0, 0.2, 1.0):
        values = factor * scale * torch.randn(6, STATES, generator=generator, dtype=torch.float64)
        check(decisions, values, clip=10.0 ** (seed % 4 - 1))


def test_one_loss_serves_many_values() -> None:
    generator = torch.Generator().manual_seed(1)
    decisions = random_batch(generator, 2, 60, STATES, 2).decisions
    gradient = clipped_squared_error(decisions, STATES, COEFFICIENT, 10.0)
    for _ in range(5):
        values = 5 * torch.randn(2, STATES, generator=generator, dtype=torch.float64)
        out = torch.empty_like(values)
        gradient(values, out)
        torch.testing.assert_close(out, by_autograd(decisions, values, 10.0), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("far", [-1e6, -20.0, 20.0, 1e6])
def test_values_far_outside_the_returns_stay_where_they_are(far: float) -> None:
    decisions = random_batch(torch.Generator().manual_seed(2), 3, 400, STATES, 2).decisions
    decisions.return_to_go.clamp_(-15, 15)
    values = torch.full((3, STATES), far, dtype=torch.float64)
    values[1] = 0  # a neighbour that does learn
    check(decisions, values)
    out = torch.empty_like(values)
    clipped_squared_error(decisions, STATES, COEFFICIENT, 10.0)(values, out)
    assert (out[1] != 0).all()
    if abs(far) > 1000:
        assert (out[[0, 2]] == 0).all()


def test_states_without_samples_have_no_gradient() -> None:
    decisions = random_batch(torch.Generator().manual_seed(3), 3, 50, 2, 2).decisions
    decisions.state.add_(1)  # states 0 and 3 are never seen
    values = torch.zeros(3, STATES, dtype=torch.float64)
    check(decisions, values)
    out = torch.empty_like(values)
    clipped_squared_error(decisions, STATES, COEFFICIENT, 10.0)(values, out)
    assert (out[:, [0, 3]] == 0).all()


@pytest.mark.parametrize("value", [1.0, 4.0, 7.5])
def test_one_sample(value: float) -> None:
    decisions = Decisions(torch.tensor([[2]]), torch.tensor([[0]]), torch.tensor([[4.0]], dtype=torch.float64))
    check(decisions, torch.full((1, STATES), value, dtype=torch.float64))


def test_equal_returns() -> None:
    """As in a game that always pays the same: all samples in or all out."""
    decisions = random_batch(torch.Generator().manual_seed(4), 4, 30, STATES, 2).decisions
    decisions.return_to_go.fill_(15.0)
    values = torch.tensor([0.0, 13.0, 15.0, 17.0], dtype=torch.float64)[:, None].expand(4, STATES).contiguous()
    check(decisions, values)
