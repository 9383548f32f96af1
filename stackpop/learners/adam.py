"""Adam over stacked parameters, with a learning rate a run."""

from __future__ import annotations

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma & Ba, 2015) on one parameter tensor [run, ...], updated in place.

    Written here because torch's optimisers hold one learning rate for a whole tensor. Only single
    multiplications, additions, divisions and roots are used: fused operations round differently in
    vector and scalar code, and a run's bits would depend on its place in the pack.
    """

    def __init__(self, params: Tensor, lr: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        self.params = params
        self._lr = lr.view(-1, *[1] * (params.dim() - 1)).expand_as(params).contiguous()
        self._betas, self._eps = betas, eps
        self._decay = [1.0, 1.0]
        self._mean, self._square = torch.zeros_like(params), torch.zeros_like(params)
        self._scratch = torch.empty_like(params)

    def step(self, gradient: Tensor) -> None:
        """One step against the gradient [run, ...], which is overwritten."""
        (beta1, beta2), decay = self._betas, self._decay
        decay[0] *= beta1
        decay[1] *= beta2
        scratch = torch.mul(gradient, gradient, out=self._scratch)
        self._square.mul_(beta2).add_(scratch.mul_(1 - beta2))
        self._mean.mul_(beta1).add_(gradient.mul_(1 - beta1))
        root = torch.sqrt(self._square, out=scratch).mul_((1 - decay[1]) ** -0.5).add_(self._eps)
        self.params.sub_(torch.div(self._mean, root, out=gradient).mul_(self._lr).mul_(1 / (1 - decay[0])))
