"""Small fully connected networks, one a run: stacked parameters, outputs, and gradients from those in the outputs.

A network here only maps parameters to logits (or values) and gradients in these to gradients in the parameters: the
losses are those of the tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from stackpop.learners.streams import Streams
from stackpop.learners.tables import INIT_SCALE, normalised_init
from stackpop.settings import Settings

HIDDEN = (64, 64)
MANTISSA_BITS = 53  # of float64


class NetworkSettings(Settings):
    """What a learner keeps its policy in.

    network: a table with a row for every observation, or a fully connected network (`mlp`, tanh) of it. hidden: sizes
    of the network's hidden layers; null for 64 and 64.
    """

    network: Literal["table", "mlp"] = "table"
    hidden: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] | None = None

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Sizes of the hidden layers; none of a table."""
        if self.network == "table":
            return ()
        return self.hidden or HIDDEN


def layer_shapes(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(inputs + 1, outputs) of each layer of a network of these sizes: the last row of weights is the bias."""
    return [(inputs + 1, outputs) for inputs, outputs in pairwise(sizes)]


def parameter_count(sizes: Sequence[int]) -> int:
    """Number of parameters of a network."""
    return sum(math.prod(shape) for shape in layer_shapes(sizes))


def fresh_layers(streams: Streams, sizes: Sequence[int]) -> list[Tensor]:
    """Initial layers [run, inputs + 1, outputs] as in RLlib: each output's weights of norm 1, the last's 0.01, no bias.

    sizes: of inputs, hidden layers and outputs.
    """
    weights = [normalised_init(streams.normal(inputs, outputs)) for inputs, outputs in pairwise(sizes)]
    scaled = [*(each / INIT_SCALE for each in weights[:-1]), weights[-1]]
    return [torch.nn.functional.pad(each, (0, 0, 0, 1)) for each in scaled]


def forward(layers: Sequence[Tensor], inputs: Tensor) -> list[Tensor]:
    """What each layer is fed with [run, sample, input + 1], its last column 1, and the outputs [run, sample, output].

    inputs: [run, sample, input + 1].
    """
    fed = [inputs]
    for weights in layers[:-1]:
        hidden = product(fed[-1], weights).tanh_()
        fed.append(torch.nn.functional.pad(hidden, (0, 1), value=1.0))
    return [*fed, product(fed[-1], layers[-1])]


def backward(layers: Sequence[Tensor], fed: Sequence[Tensor], output_gradient: Tensor) -> list[Tensor]:
    """Gradients in the layers, [run, input + 1, output] each, of a loss with this gradient in the outputs.

    fed: from `forward`. By hand, since `torch.func.vjp` takes two to four times as long at these sizes; a test holds
    the two beside each other.
    """
    gradients = []
    by_sum = output_gradient
    for depth in reversed(range(len(layers))):
        gradients.append(product(fed[depth].mT, by_sum))
        if depth:
            hidden = fed[depth][..., :-1]
            by_sum = product(by_sum, layers[depth][:, :-1].mT) * (1 - hidden * hidden)
    return gradients[::-1]


def product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of each run, [run, n, k] and [run, k, m] -> [run, n, m], with bits that nothing else shapes.

    What a matrix product rounds depends on the order of its sums: on the size of the batch, the number of threads and
    even the alignment of memory. So the factors are rounded to fixed point, coarsely enough that every sum is exact
    in whatever order: to 23 bits below the largest number of each matrix for k of 64, which is single precision.
    """
    bits = (MANTISSA_BITS - (left.shape[-1] - 1).bit_length()) // 2
    return torch.bmm(_fixed_point(left, bits), _fixed_point(right, bits))


def _fixed_point(matrices: Tensor, bits: int) -> Tensor:
    """Matrices [run, n, m] rounded to so many bits below the least power of two above each one's largest number."""
    largest = matrices.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(matrices.dtype).tiny)
    power = largest / torch.frexp(largest).mantissa
    # Beside a number this large only the wanted bits have a place.
    shift = power * (1.5 * 2.0 ** (MANTISSA_BITS - 1 - bits))
    return (matrices + shift).sub_(shift)
