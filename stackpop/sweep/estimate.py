"""What a sweep would take, measured on a small sample of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stackpop.cluster import local_workers
from stackpop.spec import FollowerSpec, RunSpec, SweepSpec
from stackpop.store import bytes_per_run, read_statuses
from stackpop.sweep.plan import Plan, make_plan, packs
from stackpop.sweep.run import SweepOptions
from stackpop.training import train_followers, train_leaders

SAMPLE_UPDATES = (4, 12)


@dataclass(frozen=True)
class Estimate:
    """The plan and its price: seconds on this machine's cores, bytes of the whole store before compression."""

    plan: Plan
    workers: int
    seconds: float
    storage_bytes: int


def estimate(spec: SweepSpec, options: SweepOptions) -> Estimate:
    """Compare the file with the store, if there is one, and time a few updates of the first pack.

    Nothing is written. The time is for local workers; a cluster's own machines may differ.
    """
    workers = options.cluster.workers or local_workers()
    leaders, followers = read_statuses(options.store_path(spec), spec)
    plan = make_plan(
        spec,
        leaders,
        followers,
        retry_failed=options.retry_failed,
        runs_per_task=options.runs_per_task,
        threads=workers,
    )
    leader_bytes, follower_bytes = bytes_per_run(spec)
    storage = spec.size * leader_bytes + followers_of(spec) * follower_bytes
    return Estimate(plan, workers, _seconds(plan, workers), storage)


def followers_of(spec: SweepSpec) -> int:
    """Follower trainings of a whole sweep."""
    size = 1
    for dim in spec.follower_dims:
        size *= len(spec.labels[dim])
    return size


def _seconds(plan: Plan, workers: int) -> float:
    torch.set_num_threads(1)
    pack = next(packs(plan), None)
    if pack is None:
        return 0.0
    runs = [run for _, run in pack]
    leaders = _extrapolate(lambda n: _time_leaders(runs, n), runs[0].leader.updates)
    total = leaders * plan.tasks
    followers = [follower for run in runs if (follower := run.follower_spec()) is not None]
    if followers:
        each = _extrapolate(lambda n: _time_followers(followers, n), followers[0].follower.updates) / len(followers)
        total += each * plan.followers_to_train
    return total / min(workers, plan.tasks)


def _extrapolate(seconds: Callable[[int], float], updates: int) -> float:
    """Seconds of all updates, along the line through two short trainings; the first call warms up."""
    few, more = (min(n, updates) for n in SAMPLE_UPDATES)
    seconds(1)
    start, end = seconds(few), seconds(more)
    if more == few:
        return end
    slope = max(0.0, (end - start) / (more - few))
    return end + slope * (updates - more)


def _time_leaders(runs: Sequence[RunSpec], updates: int) -> float:
    short = [run.model_copy(update={"leader": run.leader.model_copy(update={"updates": updates})}) for run in runs]
    followers = {f.follower_id: _untrained(f) for run in short if (f := run.follower_spec()) is not None}
    started = time.perf_counter()
    train_leaders(short, followers)
    return time.perf_counter() - started


def _untrained(follower: FollowerSpec) -> np.ndarray:
    game = follower.to_game()
    return np.zeros((game.leader_tables, game.follower_states, game.columns))


def _time_followers(specs: Sequence[FollowerSpec], updates: int) -> float:
    short = [s.model_copy(update={"follower": s.follower.model_copy(update={"updates": updates})}) for s in specs]
    started = time.perf_counter()
    train_followers(short)
    return time.perf_counter() - started
