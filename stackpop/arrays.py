"""The array library for numbers that are few: NumPy on the CPU, where a call of PyTorch's costs more than the work.

The names used here mean the same in both libraries, so a formula is written once, with `xp` for either of them, and
works on the memory of a tensor in place.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor


def library_of(x: Tensor) -> ModuleType:
    """NumPy for a tensor on the CPU, PyTorch for one on another device."""
    return np if x.device.type == "cpu" else torch


def array_of(x: Tensor) -> Any:
    """The tensor as an array of its `library_of`, on the same memory."""
    return x.numpy() if x.device.type == "cpu" else x


def tensor_of(x: Any) -> Tensor:
    """The array of either library as a tensor, on the same memory."""
    tensor: Tensor = torch.as_tensor(x)
    return tensor
