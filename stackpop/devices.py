"""Where tensors are computed: `cpu`, `cuda`, or `auto`, which is a GPU wherever there is one.

A device is a circumstance of a run, like the cluster, and no part of its name: the same settings ask the same question
on any device, with the same uniform random numbers. The answers agree statistically and not bit for bit, since sums
are added in another order and normal numbers are made in another way. So a store holds the runs of one choice, and
refuses another as it refuses any changed setting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from stackpop.errors import ClusterError, explain

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda", "auto"]
DEVICES: tuple[Device, ...] = get_args(Device)
RESOURCE = "GPU"  # what a Dask worker offers one of for each GPU
VISIBLE = "CUDA_VISIBLE_DEVICES"


def has_gpu() -> bool:
    """Whether PyTorch can compute on a GPU in this process."""
    import torch

    return torch.cuda.is_available()


def visible_gpus() -> list[str]:
    """What this machine's GPUs are called in `CUDA_VISIBLE_DEVICES`; none where PyTorch can use none."""
    import torch

    if not torch.cuda.is_available():
        return []
    return gpu_names(torch.cuda.device_count(), os.environ.get(VISIBLE, ""))


def gpu_names(count: int, visible: str) -> list[str]:
    """Names of so many GPUs: those that the variable already holds, else their numbers."""
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return names[:count] if names else [str(number) for number in range(count)]


def check_gpu(where: str) -> None:
    """Refuse to go on without a GPU.

    where: the machine that should have one, for the message.

    Raises:
        ClusterError: PyTorch can use none in this process.
    """
    if not has_gpu():
        raise ClusterError(no_gpu(where))


def no_gpu(where: str) -> str:
    """What is wrong with a machine without a GPU."""
    return explain(
        "device",
        expected=f"a GPU on {where}",
        got="none that PyTorch can use",
        remedy="install PyTorch's CUDA build and a driver there, or set device to cpu or auto",
    )


@contextmanager
def computing_on(device: Device) -> Iterator[torch.device]:
    """New tensors are made on the device that was chosen, in this thread.

    Raises:
        ClusterError: `cuda`, where there is none.
    """
    import torch

    if device == "cuda":
        check_gpu("this machine")
    if device == "cpu" or not has_gpu():
        yield torch.device("cpu")  # and no context: it would cost every call of PyTorch's a microsecond
        return
    with torch.device("cuda") as gpu:
        yield gpu
