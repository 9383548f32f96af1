"""The array library for numbers that are few: NumPy on the CPU, where a call of PyTorch's costs more than the work.

The names used here mean the same in both libraries, so a formula is written once, with `xp` for either of them, and
works on the memory of a tensor in place. On another device nothing here waits for that device, but for `host_array`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMPY_DEVICES = frozenset({"cpu"})  # where NumPy computes; a test empties it to try the other way without a GPU
HOST = torch.device("cpu")  # as a context, tensors made within are on the CPU whatever the device of a training


def library_of(x: Tensor) -> ModuleType:
    """NumPy for a tensor on the CPU, PyTorch for one on another device."""
    return np if x.device.type in NUMPY_DEVICES else torch


def array_of(x: Tensor) -> Any:
    """The tensor as an array of its `library_of`, on the same memory."""
    return x.numpy() if x.device.type in NUMPY_DEVICES else x


def tensor_of(x: Any) -> Tensor:
    """The array of either library as a tensor where tensors are made now: on the same memory, if it is there."""
    tensor: Tensor = torch.as_tensor(x)
    return tensor


def host_array(x: Tensor) -> np.ndarray:
    """The tensor as a NumPy array: on the same memory if it is the CPU's, else a copy."""
    array: np.ndarray = x.cpu().numpy()
    return array


def count_from(number: int, like: Tensor) -> Any:
    """A number to count on with `+=`: on a device a tensor, so that an update that is recorded there counts on."""
    return number if library_of(like) is np else torch.full((), float(number), dtype=like.dtype)


def mirrored(x: Tensor) -> Tensor:
    """The same numbers with the axes in reverse, [run, env, step] -> [step, env, run] and back, without a copy.

    Side by side in memory so, decisions are of different runs: sums by cell need not wait for one another.
    """
    return x.permute(*reversed(range(x.dim())))


def sort_rows(x: Tensor) -> Tensor:
    """Sort each row of [row, number]; the argument's memory may be used for it."""
    if library_of(x) is torch:
        return x.sort(1).values
    x.numpy().sort(axis=1)  # torch's sort returns the order as well, and needs ten times as long
    return x


def row_order(x: Tensor) -> Tensor:
    """The order that sorts each row of [row, number]; of equal numbers any may come first."""
    if library_of(x) is torch:
        return x.argsort(1)
    return torch.from_numpy(np.argsort(x.numpy(), axis=1))  # faster than torch's


def taken(x: Tensor, index: Tensor) -> Tensor:
    """The numbers of [..., number] at some indices [k]: [..., k]."""
    if library_of(x) is torch:
        return x.index_select(-1, index)
    return torch.from_numpy(x.numpy().take(index.numpy(), axis=-1))  # in half the time of torch's


def running_largest(x: Any) -> Any:
    """The largest number so far in each row of an array [row, number]."""
    return x.cummax(1).values if isinstance(x, Tensor) else np.maximum.accumulate(x, axis=1)
