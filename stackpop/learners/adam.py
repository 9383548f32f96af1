"""Adam over stacked parameters, with a learning rate a run."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma & Ba, 2015) on one parameter tensor, updated in place; `lr` is [run] or of its shape.

    Written here because torch's optimisers hold one learning rate for a whole tensor. Only single
    multiplications, additions, divisions and roots are used: fused operations round differently in
    vector and scalar code, and a run's bits would depend on its place in the pack.

    The moments are kept as plain discounted sums, m = sum b1^k g and v = sum b2^k g^2; the factors that
    make averages of them and correct their bias are numbers, and enter once a step.
    """

    def __init__(
        self, params: Tensor, lr: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.params = params
        self._lr = (lr if lr.shape == params.shape else spread(lr, params)).contiguous()
        self._betas, self._eps, self._steps = betas, eps, 0
        self._first, self._second = torch.zeros_like(params), torch.zeros_like(params)
        self._scratch = torch.empty_like(params)

    def step(self, gradient: Tensor) -> None:
        """One step against the gradient, which is overwritten."""
        beta1, beta2 = self._betas
        self._steps += 1
        first_factor = (1 - beta1) / (1 - beta1**self._steps)
        root_factor = math.sqrt((1 - beta2) / (1 - beta2**self._steps))
        self._first.mul_(beta1).add_(gradient)
        self._second.mul_(beta2).add_(torch.mul(gradient, gradient, out=gradient))
        # lr · first_factor · m / (root_factor · sqrt(v) + eps)
        root = torch.sqrt(self._second, out=self._scratch).mul_(root_factor / first_factor)
        root.add_(self._eps / first_factor)
        self.params.sub_(torch.div(self._first, root, out=gradient).mul_(self._lr))


def spread(by_run: Tensor, like: Tensor) -> Tensor:
    """A number a run, [run], for each entry of a tensor [run, ...]."""
    return by_run.view(-1, *[1] * (like.dim() - 1)).expand_as(like)
