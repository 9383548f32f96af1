"""Philox4x64-10 (Salmon et al., 2011) as tensor operations: the streams of `numpy.random.Philox`, made on a device.

A number depends on its key and its place in the stream alone, so all runs and places are computed at once. PyTorch
has no unsigned 64-bit integers to multiply, so words are int64 of the same bits: sums and products wrap around, and
the upper half of a product is put together from products of 32-bit halves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 10
WORDS = 4  # of a block: what one counter gives
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
HALF, LOW = 32, 2**32 - 1
UNIFORM_BITS = 53


class DevicePhilox:
    """Streams of uniform numbers, one for each key, that all stand at the same place: the bits of NumPy's."""

    def __init__(self, keys: Sequence[tuple[int, int]]) -> None:
        """Start the streams of 128-bit keys, each two words, on the device where tensors are made now."""
        words = [[_signed(word) for word in column] for column in zip(*keys, strict=True)]
        self._key = torch.tensor(words)[..., None]  # [word, stream, 1]
        self._drawn = torch.zeros((), dtype=torch.int64)  # on the device, where an update that is recorded counts on

    def place(self) -> Tensor:
        """How many numbers were drawn: [stream, 1]."""
        return self._drawn.expand(self._key.shape[1], 1)

    def go_to(self, place: Tensor) -> None:
        """Go on from a `place`."""
        self._drawn.copy_(place[0, 0])

    def uniform(self, size: int) -> Tensor:
        """The next numbers in [0, 1) of every stream: [stream, size]."""
        blocks = -(-(size + WORDS - 1) // WORDS)  # as many as may be touched, wherever in a block the first number is
        counters = torch.zeros(WORDS, 1, blocks, dtype=torch.int64)
        counters[0, 0] = self._drawn // WORDS + torch.arange(1, blocks + 1)  # NumPy counts on before each block
        words = philox(counters, self._key).permute(1, 2, 0).flatten(1)  # [stream, number]
        words = words.index_select(1, self._drawn % WORDS + torch.arange(size))
        self._drawn += size
        upper = (words >> (64 - UNIFORM_BITS)) & (2**UNIFORM_BITS - 1)
        uniforms: Tensor = upper.double() * 2.0**-UNIFORM_BITS
        return uniforms


def philox(counters: Tensor, keys: Tensor) -> Tensor:
    """Blocks of random bits [word, ...] from counters [4, ...] and keys [2, ...], which broadcast.

    The tensors are int64 and stand for unsigned numbers of the same bits.
    """
    even, odd = counters[::2], counters[1::2]
    multipliers, steps = (_column(pair, counters.dim()) for pair in (MULTIPLIERS, KEY_STEPS))
    for _ in range(ROUNDS):
        upper = _upper_product(even, multipliers)
        even, odd = upper.flip(0) ^ odd ^ keys, (even * multipliers).flip(0)
        keys = keys + steps
    return torch.stack([even, odd], 1).flatten(0, 1)


def _upper_product(left: Tensor, right: Tensor) -> Tensor:
    """The upper 64 of the 128 bits of unsigned products."""
    left_low, left_high, right_low, right_high = left & LOW, _upper(left), right & LOW, _upper(right)
    low_high, high_low = left_low * right_high, left_high * right_low
    middle = _upper(left_low * right_low) + (low_high & LOW) + (high_low & LOW)
    return left_high * right_high + _upper(low_high) + _upper(high_low) + _upper(middle)


def _column(pair: tuple[int, int], dims: int) -> Tensor:
    """Two words as int64 [2, 1, ...]."""
    # Filled on the device: to copy them there, a device would be waited for.
    return torch.stack([torch.full([1] * (dims - 1), _signed(word), dtype=torch.int64) for word in pair])


def _upper(words: Tensor) -> Tensor:
    """The upper 32 bits, without the sign that a shift of int64 would spread."""
    return (words >> HALF) & LOW


def _signed(word: int) -> int:
    """The int64 of an unsigned word's bits."""
    return word - 2**64 if word >= 2**63 else word
