"""Adam over stacked runs against torch's own, one optimiser a run."""

from __future__ import annotations

import torch

from stackpop.learners.adam import Adam, spread

LEARNING_RATES = [0.02, 0.008, 1e-4, 0.5]


def gradients(steps: int) -> torch.Tensor:
    """Gradients [step, run, state, action] of very different sizes, down to where eps matters, and zeros."""
    generator = torch.Generator().manual_seed(1)
    normals = torch.randn(steps, len(LEARNING_RATES), 3, 2, generator=generator, dtype=torch.float64)
    normals *= torch.tensor([1.0, 1e-9, 1e4], dtype=torch.float64)[:, None]
    normals[::3, 2] = 0
    return normals


def test_hundreds_of_steps_agree_with_torch_run_by_run() -> None:
    params = torch.zeros(len(LEARNING_RATES), 3, 2, dtype=torch.float64)
    references = [torch.zeros(3, 2, dtype=torch.float64, requires_grad=True) for _ in LEARNING_RATES]
    optimisers = [torch.optim.Adam([p], lr=lr, eps=1e-8) for p, lr in zip(references, LEARNING_RATES, strict=True)]
    adam = Adam(params, spread(torch.tensor(LEARNING_RATES, dtype=torch.float64), params))
    for gradient in gradients(400):
        adam.gradient[:] = gradient
        adam.step()
        for run, (reference, optimiser) in enumerate(zip(references, optimisers, strict=True)):
            reference.grad = gradient[run].clone()
            optimiser.step()
        expected = torch.stack([reference.detach() for reference in references])
        torch.testing.assert_close(params, expected, rtol=1e-10, atol=1e-13)


def test_the_first_step_is_the_learning_rate_against_the_sign() -> None:
    params = torch.zeros(2, 2, dtype=torch.float64)
    adam = Adam(params, spread(torch.tensor([0.1, 0.3], dtype=torch.float64), params))
    adam.gradient[:] = torch.tensor([[5.0, -7.0], [-1.0, 0.0]])
    adam.step()
    expected = torch.tensor([[-0.1, 0.1], [0.3, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(params, expected, rtol=1e-7, atol=0)
