"""Train a pack, and give each run its own result or its own error."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from stackpop.devices import Device, computing_on
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec

Arrays = dict[str, np.ndarray]
Spec = TypeVar("Spec", RunSpec, FollowerSpec)


def timed(
    train: Callable[[Sequence[Spec]], list[Arrays]], specs: Sequence[Spec], device: Device
) -> list[TrainingResult]:
    """Train a pack on a device; what a single run gets wrong is its own error, and its neighbours go on without it.

    Raises:
        ClusterError: the device is `cuda`, and there is none.
    """
    with computing_on(device):
        return _timed(train, specs)


def _timed(train: Callable[[Sequence[Spec]], list[Arrays]], specs: Sequence[Spec]) -> list[TrainingResult]:
    started, begun = time.time(), time.monotonic()
    try:
        with torch.inference_mode():
            arrays = train(specs)
    except Exception as error:  # whatever a run raises is recorded with the run
        if len(specs) > 1:
            # By halves, so that one run among thousands does not make thousands of packs.
            half: int = len(specs) // 2
            return [*_timed(train, specs[:half]), *_timed(train, specs[half:])]
        return [_result({}, f"{type(error).__name__}: {error}", started, time.monotonic() - begun)]
    seconds = (time.monotonic() - begun) / len(specs)
    return [_result(one, _not_finite(one), started, seconds) for one in arrays]


def _result(arrays: Arrays, error: str, started: float, seconds: float) -> TrainingResult:
    return TrainingResult(
        arrays={} if error else arrays,
        error=error,
        wall_seconds=seconds,  # not the difference of the two moments, for clocks are set now and then
        started=started,
        finished=time.time(),
        worker=socket.gethostname(),
    )


def _not_finite(arrays: Arrays) -> str:
    """An error message if any number is not finite, or not in the single precision of the store; else nothing."""
    for name, array in arrays.items():
        sound = np.isfinite(array) & (np.abs(array) <= np.finfo(np.float32).max)
        if not sound.all():
            update = 1 + int(np.argwhere(~sound)[0][0])
            return f"{name} is not finite, or too large to store, from update {update} on: are the payoffs too large?"
    return ""
