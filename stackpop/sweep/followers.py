"""What a sweep knows of its followers: which are in training, which are trained, and which failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from distributed import Future

from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, SweepSpec
from stackpop.store import GroupWriter, Status
from stackpop.sweep.plan import Index
from stackpop.training import LEARNED

REMEMBERED_BYTES = 2**26  # what a follower learned is some hundred bytes, or some hundred thousand
OBJECT_BYTES = 1024  # of a result besides its arrays
_ALIVE = ("pending", "finished")


class Followers:
    """The followers of one sweep; an index is a position in the grid of `spec.follower_dims`.

    A follower is trained once, whoever needs it: its task is shared while it runs, and what came of it is
    remembered for a while, then read from the store.
    """

    def __init__(self, spec: SweepSpec, writer: GroupWriter | None) -> None:
        self._spec, self._writer = spec, writer
        self._training: dict[Index, Future[Any]] = {}
        self._known: dict[Index, TrainingResult] = {}  # the oldest first
        self._known_bytes = 0

    def index_of(self, run: Index) -> Index:
        """Where the follower of a leader run is."""
        at = dict(zip(self._spec.dims, run, strict=True))
        return tuple(at[dim] for dim in self._spec.follower_dims)

    def in_training(self, index: Index) -> Future[Any] | None:
        """The task that trains a follower, unless it got lost."""
        future = self._training.get(index)
        return future if future is not None and future.status in _ALIVE else None

    def known(self, index: Index, follower: FollowerSpec) -> TrainingResult | None:
        """What a trained follower learned, and its regret, or the error of one that failed in this sweep; else None."""
        if index in self._known:
            return self._known[index]
        if self._writer is None or self._writer.status[index] != Status.DONE:
            return None
        settings, stored = follower.follower, self._writer.read(index)
        shape = settings.parameter_shape(follower.to_game())
        arrays = {settings.stored_as: stored[settings.stored_as][tuple(map(slice, shape))].copy()}
        regret = stored["follower_regret_worst"][: int(stored["updates"])][-1:].astype(np.float64)
        if np.isfinite(regret).all():
            arrays["follower_regret_worst"] = regret
        return self._remember(index, TrainingResult(arrays))

    def started(self, indices: Sequence[Index], future: Future[Any]) -> None:
        """A task trains these followers."""
        for index in indices:
            self._training[index] = future
            if self._writer is not None:
                self._writer.mark_running(index)

    def ended(self, index: Index, result: TrainingResult) -> None:
        """A follower is trained, or failed for its own reasons."""
        self._training.pop(index, None)
        if self._writer is not None:
            self._writer.record(index, result)
        needed = (*LEARNED, "follower_regret_worst")
        kept = {name: result.arrays[name] for name in needed if name in result.arrays}
        self._remember(index, TrainingResult(kept, result.error))

    def _remember(self, index: Index, result: TrainingResult) -> TrainingResult:
        self._forget(index)
        self._known[index] = result
        self._known_bytes += _bytes(result)
        while self._known_bytes > REMEMBERED_BYTES and len(self._known) > 1:
            self._forget(next(iter(self._known)))
        return result

    def _forget(self, index: Index) -> None:
        if known := self._known.pop(index, None):
            self._known_bytes -= _bytes(known)


def _bytes(result: TrainingResult) -> int:
    return OBJECT_BYTES + sum(array.nbytes for array in result.arrays.values())
