"""What runs on the workers: each function is one Dask task, and its arguments and result are small."""

from __future__ import annotations

import ctypes
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from stackpop.devices import Device
from stackpop.errors import explain
from stackpop.games import Game
from stackpop.results import NOT_BEGUN, TrainingResult
from stackpop.spec import FollowerSpec, RunSpec
from stackpop.sweep.stacks import Stacks, stacked, unstacked

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 2**28

FollowerResults = dict[str, TrainingResult]  # by follower_id


def told(topic: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a task whose start was told, see `Starts`: the scheduler knows of it before anything can happen to it.

    Where it cannot be told, the task counts as not started, and nobody blames it.
    """
    from distributed import get_worker
    from distributed.utils import sync

    worker = get_worker()
    event = {"key": worker.get_current_task(), "worker": worker.address}
    with suppress(OSError):
        sync(worker.loop, worker.scheduler.log_event, topic=topic, msg=event)
    return function(*arguments)


def solve_game(game: Game) -> dict[str, float]:
    """Exact values of one game, by the store's names; NaN where nobody knows."""
    _prepare_worker()
    from stackpop.equilibria import known_truth

    truth = known_truth(game)
    return {
        "equilibrium_pure": truth.pure,
        "equilibrium_resample": truth.resample,
        "equilibrium_behavioural": truth.behavioural,
        "leader_return_min": truth.leader_return_min,
        "leader_return_max": truth.leader_return_max,
    }


def train_follower_pack(specs: Sequence[FollowerSpec], device: Device) -> FollowerResults:
    """Train followers of one shape on a device."""
    _prepare_worker()
    from stackpop.training import train_followers

    results = train_followers(specs, device)
    return {spec.follower_id: _signed(result) for spec, result in zip(specs, results, strict=True)}


def train_leader_pack(
    specs: Sequence[RunSpec],
    earlier: Stacks,
    trained: Sequence[FollowerResults],
    device: Device,
    segment: int | None,
) -> Stacks:
    """Train leaders of one shape on a device, against their trained followers; results in the order of `specs`.

    earlier, segment: where they are, and how many updates to make now; see `train_leaders`.
    A leader whose follower failed fails with it, one whose follower is worse than `max_regret` is blocked, and the
    others go on.
    """
    _prepare_worker()
    from stackpop.training import learned, train_leaders

    followers = {key: result for pack in trained for key, result in pack.items()}
    refused = [_refusal(spec, followers) for spec in specs]
    pack = zip(specs, unstacked(earlier) or [NOT_BEGUN] * len(specs), refused, strict=True)
    sound = [(spec, before) for spec, before, refusal in pack if refusal is None]
    trained_ones = {key: learned(result.arrays) for key, result in followers.items() if not result.failed}
    results: Iterator[TrainingResult] = iter(())
    if sound:
        chosen, before = zip(*sound, strict=True)
        results = iter(train_leaders(chosen, trained_ones, device, segment=segment, earlier=before))
    return stacked([_signed(refusal or next(results)) for refusal in refused])


def _refusal(spec: RunSpec, followers: FollowerResults) -> TrainingResult | None:
    """Why a leader is not started, if so."""
    training, now = spec.follower_spec(), time.time()
    if training is None:
        return None
    result = followers[training.follower_id]
    if result.failed:
        return TrainingResult({}, f"follower: {result.error}", started=now, finished=now)
    most = getattr(spec.follower, "max_regret", None)
    if most is None:
        return None
    regret = float(result.arrays["follower_regret_worst"][-1].astype("float32"))  # as the store has it
    if regret <= most:
        return None
    expected = f"a follower with a regret of at most {most:g}"
    got = f"{regret:.6g} against one of {_judges(spec.to_game())}"
    remedy = "raise it, or give the follower more updates"
    reason = explain("follower.max_regret", expected=expected, got=got, remedy=remedy)
    return TrainingResult({}, reason, started=now, finished=now, blocked=True)


def _judges(game: Game) -> str:
    """The leader tables that a follower was judged by, in words."""
    from stackpop.equilibria import judged_tables, judges_all

    return f"{'all' if judges_all(game) else 'a sample of'} {len(judged_tables(game)):,} leader tables"


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
