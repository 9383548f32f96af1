"""Closed-form gradients against autograd of the losses as written, sums against loops, and initial weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stackpop.arrays import mirrored, tensor_of
from stackpop.learners.tables import (
    INIT_SCALE,
    Cells,
    first_of_largest,
    greedy,
    log_softmax,
    logit_gradient,
    normalised_init,
    reinforce_gradient,
    softmax,
    sum_by_cell,
)
from support import random_batch


def test_the_reinforce_gradient_is_that_of_one_loss_a_sample() -> None:
    generator = torch.Generator().manual_seed(1)
    runs, states, actions, samples = 4, 3, 5, 40
    logits = torch.randn(actions, runs, states, generator=generator, dtype=torch.float64, requires_grad=True)
    batch = random_batch(generator, runs, samples, states, actions)
    run = torch.arange(runs)[:, None, None]
    loss = -(torch.log_softmax(logits, 0)[batch.action, run, batch.state] * batch.return_to_go).mean(1).sum()
    (expected,) = torch.autograd.grad(loss, logits)
    sums = Cells(batch.decision, logits.shape).sum(mirrored(batch.return_to_go))
    found = reinforce_gradient(torch.softmax(logits.detach(), 0), sums, samples)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_the_logit_gradient_is_the_chain_rule_through_log_softmax() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = (3 * torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    weights = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    log_policy = torch.log_softmax(logits, 0)
    (expected,) = torch.autograd.grad((weights * log_policy).sum(), logits)
    found = logit_gradient(weights, log_policy.detach().exp())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("actions", [1, 2, 5])
def test_the_log_softmax_is_that_of_torch(actions: int) -> None:
    logits = torch.randn(actions, 3, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    logits *= torch.tensor([1e-3, 1, 30, 1e4], dtype=torch.float64)
    for xp, array in ((np, logits.numpy()), (torch, logits)):
        found = tensor_of(log_softmax(xp, array))
        torch.testing.assert_close(found, torch.log_softmax(logits, 0), rtol=1e-13, atol=1e-15)


def test_cells_keep_runs_states_and_actions_apart() -> None:
    state = torch.tensor([[[0, 1], [0, 0]], [[1, 1], [1, 0]]])  # [run, env, step]
    action = torch.tensor([[[0, 0], [0, 1]], [[2, 2], [0, 0]]])
    weights = torch.tensor([[[1.0, 2.0], [4.0, 8.0]], [[16.0, 32.0], [64.0, 128.0]]], dtype=torch.float64)
    cells = Cells(3 * state + action, (3, 2, 2))
    assert cells.decided == 4
    assert cells.sum(mirrored(weights)).tolist() == [[[5, 2], [128, 64]], [[8, 0], [0, 0]], [[0, 0], [0, 48]]]
    assert cells.sum().tolist() == [[[2, 1], [1, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 2]]]
    by_state = torch.tensor([[10, 11], [20, 21]])
    assert mirrored(cells.at(by_state)).tolist() == [[[10, 11], [10, 10]], [[21, 21], [21, 20]]]


def test_sums_by_cell_keep_the_runs_apart() -> None:
    cells = torch.tensor([[0, 2, 0, 2], [1, 1, 1, 1]])
    weights = torch.tensor([[1.0, 2.0, 4.0, 8.0], [1.0, -1.0, 0.5, 16.0]], dtype=torch.float64)
    assert sum_by_cell(cells, weights, 4).tolist() == [[5.0, 0.0, 10.0, 0.0], [0.0, 16.5, 0.0, 0.0]]


def test_initial_weights_of_every_output_have_norm_one_hundredth() -> None:
    normals = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights = normalised_init(normals)
    torch.testing.assert_close(weights.norm(dim=1), torch.full((3, 2), INIT_SCALE, dtype=torch.float64))
    ratio = weights / normals
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # only scaled, each output for itself
    assert (ratio > 0).all()
    assert INIT_SCALE == 0.01


@pytest.mark.parametrize("actions", [1, 2, 5])
def test_greedy_takes_the_first_of_the_largest(actions: int) -> None:
    values = torch.randint(3, (4, 50, actions), generator=torch.Generator().manual_seed(4)).double()
    kept = values.clone()
    assert torch.equal(greedy(values), torch.nn.functional.one_hot(values.argmax(-1), actions).double())
    assert torch.equal(first_of_largest(values), values.argmax(-1))
    assert torch.equal(values, kept)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_greedy_shows_what_has_diverged(broken: float) -> None:
    values = torch.tensor([[1.0, broken, 2.0], [1.0, 3.0, 3.0]], dtype=torch.float64)
    found = greedy(values)
    assert found[0].isnan().all()
    assert found[1].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("actions", [1, 2, 5])
def test_softmax_is_that_of_torch(actions: int) -> None:
    logits = torch.randn(4, 50, actions, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    logits *= torch.tensor([1e-3, 1, 30, 1e4], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(softmax(logits), torch.softmax(logits, -1), rtol=1e-13, atol=1e-300)
