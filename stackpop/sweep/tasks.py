"""What runs on the workers: each function is one Dask task, and its arguments and result are small."""

from __future__ import annotations

import ctypes
import dataclasses
import time
from collections.abc import Sequence
from functools import cache

from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 2**28

FollowerResults = dict[str, TrainingResult]  # by follower_id


def solve_game(game: Game) -> dict[str, float]:
    """Exact values of one game, by the store's names."""
    _prepare_worker()
    from stackpop.equilibria import ground_truth

    truth = ground_truth(game)
    return {
        "equilibrium_pure": truth.pure,
        "equilibrium_resample": truth.resample,
        "equilibrium_behavioural": truth.behavioural,
        "leader_return_min": truth.leader_return_min,
        "leader_return_max": truth.leader_return_max,
    }


def train_follower_pack(specs: Sequence[FollowerSpec]) -> FollowerResults:
    """Train followers of one shape."""
    _prepare_worker()
    from stackpop.training import train_followers

    results = train_followers(specs)
    return {spec.follower_id: _signed(result) for spec, result in zip(specs, results, strict=True)}


def train_leader_pack(specs: Sequence[RunSpec], trained: Sequence[FollowerResults]) -> list[TrainingResult]:
    """Train leaders of one shape against their trained followers, in the order of `specs`.

    A leader whose follower failed fails with it, and the others go on.
    """
    _prepare_worker()
    from stackpop.training import train_leaders

    followers = {key: result for pack in trained for key, result in pack.items()}
    errors = {key: f"follower: {result.error}" for key, result in followers.items() if result.failed}
    logits = {key: result.arrays["follower_logits"] for key, result in followers.items() if not result.failed}
    failed = [errors.get(follower.follower_id) if (follower := spec.follower_spec()) else None for spec in specs]
    sound = [spec for spec, error in zip(specs, failed, strict=True) if error is None]
    results = iter(train_leaders(sound, logits) if sound else ())
    now = time.time()
    return [
        _signed(TrainingResult({}, error, started=now, finished=now) if error else next(results)) for error in failed
    ]


@cache
def _prepare_worker() -> None:
    """Once a process: one torch thread, and freed memory kept for the next tensor.

    Dask tells the allocator to hand every freed block back to the system, and training frees and takes
    the same megabytes thousands of times a second: with that, a pack of 60 takes twice as long.
    """
    import torch

    torch.set_num_threads(1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; elsewhere there is nothing to undo
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 8)


def _signed(result: TrainingResult) -> TrainingResult:
    from distributed import get_worker

    return dataclasses.replace(result, worker=str(get_worker().address))
