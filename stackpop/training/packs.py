"""Train a pack, and give each run its own result or its own error."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec

Arrays = dict[str, np.ndarray]
Spec = TypeVar("Spec", RunSpec, FollowerSpec)


def timed(train: Callable[[Sequence[Spec]], list[Arrays]], specs: Sequence[Spec]) -> list[TrainingResult]:
    """Train a pack; what a single run gets wrong is its own error, and its neighbours go on without it."""
    started = time.time()
    try:
        with torch.inference_mode():
            arrays = train(specs)
    except Exception as error:  # whatever a run raises is recorded with the run
        if len(specs) > 1:
            return [result for spec in specs for result in timed(train, [spec])]
        return [_result({}, f"{type(error).__name__}: {error}", started, 1)]
    return [_result(one, _not_finite(one), started, len(specs)) for one in arrays]


def _result(arrays: Arrays, error: str, started: float, runs: int) -> TrainingResult:
    finished = time.time()
    return TrainingResult(
        arrays={} if error else arrays,
        error=error,
        wall_seconds=(finished - started) / runs,
        started=started,
        finished=finished,
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
