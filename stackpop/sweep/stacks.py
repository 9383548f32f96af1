"""The results of a pack as a few large arrays, on their way from a worker: many small ones are slow to send."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stackpop.results import TrainingResult


@dataclass(frozen=True)
class Stacks:
    """Results in order, without their arrays, and those: (name, which results have it, its values [result, ...])."""

    results: list[TrainingResult]
    arrays: list[tuple[str, list[int], NDArray[Any]]]


def stacked(results: Sequence[TrainingResult]) -> Stacks:
    """Arrays of one name, shape and type as one."""
    rows: dict[tuple[str, tuple[int, ...], np.dtype[Any]], list[int]] = defaultdict(list)
    for row, result in enumerate(results):
        for name, values in result.arrays.items():
            rows[name, values.shape, values.dtype].append(row)
    arrays = [
        (name, which, np.stack([results[row].arrays[name] for row in which])) for (name, *_), which in rows.items()
    ]
    return Stacks([dataclasses.replace(result, arrays={}) for result in results], arrays)


def unstacked(stacks: Stacks) -> list[TrainingResult]:
    """The results as they were, each array a view of its stack."""
    arrays: list[dict[str, NDArray[Any]]] = [{} for _ in stacks.results]
    for name, which, values in stacks.arrays:
        for row, value in zip(which, values, strict=True):
            arrays[row][name] = value
    return [dataclasses.replace(result, arrays=own) for result, own in zip(stacks.results, arrays, strict=True)]
