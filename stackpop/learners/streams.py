"""Random numbers that depend on a run's seed and the phase of its training, and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackpop.arrays import mirrored, taken, tensor_of
from stackpop.learners.philox import DevicePhilox
from stackpop.learners.snapshot import Snapshot

NUMPY_DEVICES = frozenset({"cpu"})  # where NumPy draws; a test empties it to try the other way without a GPU
SMALLEST_UNIFORM = 2.0**-54  # stands in for 0, whose normal quantile is -inf


class Phase(IntEnum):
    """What a stream is for. The numbers are part of every result: never renumber, only append."""

    FOLLOWER_INIT = 0
    FOLLOWER_TRAINING = 1
    FOLLOWER_EVALUATION = 2
    LEADER_INIT = 3
    LEADER_TRAINING = 4
    LEADER_EVALUATION = 5
    POST_TRAINING = 6
    POST_EVALUATION = 7
    LEADER_EXPLORATION = 8
    LEADER_REPLAY = 9
    TABULAR_Q = 10
    TABULAR_Q_EVALUATION = 11


class Streams:
    """One counter-based stream a run: Philox4x64-10 (Salmon et al., 2011) keyed by (seed, phase).

    Runs of one seed draw the same numbers whatever else differs between them (common random numbers),
    so comparisons along any axis are paired by seed; within a pack each such stream is drawn once.

    The numbers are made on the device where tensors are made when the streams begin. Uniform ones are the same on all
    devices, bit for bit; normal ones are NumPy's on the CPU, and elsewhere quantiles of the uniform ones.
    """

    def __init__(self, seeds: Sequence[int], phase: Phase) -> None:
        distinct, firsts, rows = np.unique(np.asarray(seeds, dtype=np.uint64), return_index=True, return_inverse=True)
        keys = [(int(seed), int(phase)) for seed in distinct]
        by_numpy = torch.get_default_device().type in NUMPY_DEVICES
        self._source: _NumPyPhilox | _Quantiles = _NumPyPhilox(keys) if by_numpy else _Quantiles(DevicePhilox(keys))
        self._rows, self._firsts = tensor_of(rows), tensor_of(firsts)

    def snapshot(self) -> Snapshot:
        """Where the streams stand; another kind of device can do nothing with it."""
        return {"place": self._source.place()[self._rows]}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same seeds."""
        self._source.go_to(snapshot["place"][self._firsts])

    def uniform(self, *shape: int) -> Tensor:
        """The next uniform numbers in [0, 1) of every run: [run, *shape], in memory the other way round."""
        drawn = mirrored(self._source.uniform(math.prod(shape)).view(-1, *shape)).contiguous()
        return mirrored(taken(drawn, self._rows))

    def normal(self, *shape: int) -> Tensor:
        """The next standard normal numbers of every run: [run, *shape]."""
        return self._source.normal(math.prod(shape))[self._rows].view(-1, *shape)


class _NumPyPhilox:
    """Numbers of each key, [key, number], by NumPy's generators."""

    def __init__(self, keys: Sequence[tuple[int, int]]) -> None:
        words = (np.array(key, dtype=np.uint64) for key in keys)
        self._generators = [np.random.Generator(np.random.Philox(key=key)) for key in words]

    def uniform(self, size: int) -> Tensor:
        return torch.from_numpy(np.stack([g.random(size) for g in self._generators]))

    def normal(self, size: int) -> Tensor:
        return torch.from_numpy(np.stack([g.standard_normal(size) for g in self._generators]))

    def place(self) -> Tensor:
        """Counter, block of words and how many of it are used: [key, word]."""
        # How many numbers were drawn would not do: a normal one takes as many words as it happens.
        words = []
        for generator in self._generators:
            state: Any = generator.bit_generator.state
            words.append(np.array([*state["state"]["counter"], *state["buffer"], state["buffer_pos"]], dtype=np.uint64))
        return torch.from_numpy(np.stack(words).view(np.int64))

    def go_to(self, place: Tensor) -> None:
        for generator, words in zip(self._generators, place.numpy().view(np.uint64), strict=True):
            state: Any = generator.bit_generator.state
            state["state"]["counter"], state["buffer"], state["buffer_pos"] = words[:4], words[4:8], int(words[8])
            generator.bit_generator.state = state


class _Quantiles:
    """Numbers of each key, [key, number]; a normal one takes the place of one uniform number in the stream."""

    def __init__(self, uniforms: DevicePhilox) -> None:
        self._uniforms = uniforms

    def uniform(self, size: int) -> Tensor:
        return self._uniforms.uniform(size)

    def normal(self, size: int) -> Tensor:
        return normal_quantiles(self._uniforms.uniform(size))

    def place(self) -> Tensor:
        return self._uniforms.place()

    def go_to(self, place: Tensor) -> None:
        self._uniforms.go_to(place)


def normal_quantiles(uniforms: Tensor) -> Tensor:
    """Standard normal numbers, by inversion of uniform ones in [0, 1)."""
    quantiles: Tensor = torch.special.ndtri(uniforms.clamp_min(SMALLEST_UNIFORM))
    return quantiles
