"""Adam over stacked parameters, with a learning rate a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import array_of, count_from, library_of, tensor_of
from stackpop.learners.snapshot import Snapshot, shared

# A tensor of the parameters' shape -> views of it that begin with the run, [run, ...].
ByRun = Callable[[Tensor], Sequence[Tensor]]


class Adam:
    """Adam (Kingma & Ba, 2015) on one contiguous parameter tensor, updated in place; `lr` is of the same shape.

    gradient: a tensor of the parameters' shape, which the caller writes before each step, and the step overwrites.

    Written here because torch's optimisers hold one learning rate for a whole tensor. Only single
    multiplications, additions, divisions and roots are used: fused operations round differently in
    vector and scalar code, and a run's bits would depend on its place in the pack.

    The moments are kept as plain discounted sums, m = sum b1^k g and v = sum b2^k g^2; the factors that
    make averages of them and correct their bias are numbers, and enter once a step.
    """

    def __init__(
        self, params: Tensor, lr: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self._betas, self._eps, self._steps = betas, eps, count_from(0, params)
        # Both moments side by side, so that one operation serves both; and so what is added to them in a step.
        moments, powers = params.new_zeros(2, *params.shape), params.new_empty(2, *params.shape)
        self.gradient = powers[0]
        self._xp, self._params, self._lr = library_of(params), array_of(params), array_of(lr.contiguous())
        self._moments, self._powers, self._root = map(array_of, (moments, powers, torch.empty_like(params)))
        self._sqrt: Callable[[Any], Any] = math.sqrt if self._xp is np else torch.sqrt
        self._decay = array_of(torch.tensor(betas, dtype=params.dtype).view(2, *[1] * params.dim()))

    def step(self) -> None:
        """One step against the gradient; what overflows may warn, as NumPy does."""
        xp, (beta1, beta2) = self._xp, self._betas
        gradient, square = self._powers
        first, second = self._moments
        self._steps += 1
        first_factor = (1 - beta1) / (1 - beta1**self._steps)
        root_factor = self._sqrt((1 - beta2) / (1 - beta2**self._steps))
        xp.multiply(gradient, gradient, out=square)
        self._moments *= self._decay
        self._moments += self._powers
        # lr · first_factor · m / (root_factor · sqrt(v) + eps)
        root = xp.sqrt(second, out=self._root)
        root *= root_factor / first_factor
        root += self._eps / first_factor
        step = xp.divide(first, root, out=gradient)
        step *= self._lr
        self._params -= step

    def snapshot(self, by_run: ByRun = lambda x: [x]) -> Snapshot:
        """Parameters, moments and the number of steps."""
        pieces = dict(self._pieces(by_run))
        return {**pieces, "steps": shared(int(self._steps), len(next(iter(pieces.values()))))}

    def restore(self, snapshot: Snapshot, by_run: ByRun = lambda x: [x]) -> None:
        """Go on from a snapshot; the parameters change in place."""
        for name, piece in self._pieces(by_run):
            piece.copy_(snapshot[name])
        self._steps = count_from(int(snapshot["steps"][0]), tensor_of(self._params))

    def _pieces(self, by_run: ByRun) -> Iterator[tuple[str, Tensor]]:
        """Views of all that a step changes for good."""
        for name, whole in zip(("params", "first", "second"), (self._params, *self._moments), strict=True):
            for k, piece in enumerate(by_run(tensor_of(whole))):
                yield f"{name}{k}", piece


def spread(by_run: Tensor, like: Tensor) -> Tensor:
    """A number a run, [run], for each entry of a tensor [run, ...]."""
    return by_run.view(-1, *[1] * (like.dim() - 1)).expand_as(like)
