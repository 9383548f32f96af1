"""What a population in training is at the end of an update: tensors to stop with, and to go on from with the same bits.

Whatever draws numbers or remembers something across updates has a `snapshot`, and a `restore` that takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Name -> [run, ...]: with the run axis first in every tensor, a snapshot of a pack can be divided between its runs.
Snapshot = Mapping[str, Tensor]


def joined(parts: Mapping[str, Snapshot]) -> dict[str, Tensor]:
    """One snapshot of the parts of something, by their names."""
    return {f"{name}.{key}": tensor for name, snapshot in parts.items() for key, tensor in snapshot.items()}


def part(snapshot: Snapshot, name: str) -> dict[str, Tensor]:
    """One of the parts that were `joined`."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): tensor for key, tensor in snapshot.items() if key.startswith(prefix)}


def shared(number: int, runs: int) -> Tensor:
    """A number that all runs of a pack have in common, for each of them: [run]."""
    return torch.full((runs,), number)
