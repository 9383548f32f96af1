"""Train a pack, and give each run its own result or its own error."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from stackpop.devices import Device, computing_on
from stackpop.results import TrainingResult

KEPT_BYTES = 2**24  # glibc then keeps twice as much, its most: it learns from no block above 32 MB

Run = TypeVar("Run")  # whatever one run of a pack is to the function that trains it


def timed(
    train: Callable[[Sequence[Run]], list[TrainingResult]], pack: Sequence[Run], device: Device
) -> list[TrainingResult]:
    """Train a pack on a device; what a single run gets wrong is its own error, and its neighbours go on without it.

    train: its results may hold the start and the seconds of a training that goes on, and need no times otherwise.

    Raises:
        ClusterError: the device is `cuda`, and there is none.
    """
    _keep_memory()
    with computing_on(device):
        return _timed(train, pack)


def _keep_memory() -> None:
    """Let the C library keep what an update frees for the next one, where else it might get it anew from the system.

    glibc returns the end of its heap when more is free there than twice the largest block that it ever mapped by itself
    and was given back: whether an update's memory is at the end, chance decides, and a sixth of the time goes with it.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)  # given back at once


def _timed(train: Callable[[Sequence[Run]], list[TrainingResult]], pack: Sequence[Run]) -> list[TrainingResult]:
    started, begun = time.time(), time.monotonic()
    try:
        with torch.inference_mode():
            results = train(pack)
    except Exception as error:  # whatever a run raises is recorded with the run
        if len(pack) > 1:
            # By halves, so that one run among thousands does not make thousands of packs.
            half = len(pack) // 2
            return [*_timed(train, pack[:half]), *_timed(train, pack[half:])]
        results = [TrainingResult({}, f"{type(error).__name__}: {error}")]
    seconds = (time.monotonic() - begun) / len(pack)
    return [_stamped(result, started, seconds) for result in results]


def _stamped(result: TrainingResult, started: float, seconds: float) -> TrainingResult:
    error = result.error if result.error or result.unfinished else _not_finite(result.arrays)
    return dataclasses.replace(
        result,
        arrays={} if error else result.arrays,
        error=error,
        wall_seconds=result.wall_seconds + seconds,  # not a difference of two moments, for clocks are set now and then
        started=result.started or started,
        finished=time.time(),
        worker=socket.gethostname(),
    )


def _not_finite(arrays: Mapping[str, np.ndarray]) -> str:
    """An error message if any number is not finite, or not in the single precision of the store; else nothing."""
    for name, array in arrays.items():
        sound = np.isfinite(array) & (np.abs(array) <= np.finfo(np.float32).max)
        if not sound.all():
            update = 1 + int(np.argwhere(~sound)[0][0])
            return f"{name} is not finite, or too large to store, from update {update} on: are the payoffs too large?"
    return ""
