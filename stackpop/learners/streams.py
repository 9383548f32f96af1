"""Random numbers that depend on a run's seed and the phase of its training, and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


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
    """

    def __init__(self, seeds: Sequence[int], phase: Phase) -> None:
        distinct, rows = np.unique(np.asarray(seeds, dtype=np.uint64), return_inverse=True)
        keys = [np.array([seed, int(phase)], dtype=np.uint64) for seed in distinct]
        self._generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
        self._rows = torch.from_numpy(rows)

    def uniform(self, *shape: int) -> Tensor:
        """The next uniform numbers in [0, 1) of every run: [run, *shape]."""
        size = math.prod(shape)
        return self._spread(np.stack([g.random(size) for g in self._generators]), shape)

    def normal(self, *shape: int) -> Tensor:
        """The next standard normal numbers of every run: [run, *shape]."""
        size = math.prod(shape)
        return self._spread(np.stack([g.standard_normal(size) for g in self._generators]), shape)

    def _spread(self, drawn: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(drawn)[self._rows].view(len(self._rows), *shape)
