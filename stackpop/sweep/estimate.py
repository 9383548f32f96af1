"""What a sweep would take, measured on a small sample of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stackpop.cluster import local_workers
from stackpop.spec import FollowerSpec, RunSpec, SweepSpec
from stackpop.store import Status, bytes_per_run, read_statuses
from stackpop.sweep.packing import PackSizes, most_runs
from stackpop.sweep.plan import Plan, by_seeds, follower_positions, index_at, make_plan, with_follower
from stackpop.sweep.run import SweepOptions
from stackpop.training import train_followers, train_leaders

SAMPLE_UPDATES = (4, 12)
MOST_KINDS = 4  # of packs that are timed, the most frequent ones


@dataclass(frozen=True)
class Estimate:
    """The plan and its price: seconds on this machine's cores, bytes of the whole store before compression."""

    plan: Plan
    workers: int
    seconds: float
    storage_bytes: int


def estimate(spec: SweepSpec, options: SweepOptions) -> Estimate:
    """Compare the file with the store, if there is one, and time a few updates of one pack of each kind.

    Nothing is written. The time is for local workers; a cluster's own machines may differ.
    """
    workers = getattr(options.cluster.over(spec.cluster).settings, "workers", None) or local_workers()
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
    return Estimate(plan, workers, _seconds(plan, followers, workers), storage)


def followers_of(spec: SweepSpec) -> int:
    """Follower trainings of a whole sweep."""
    size = 1
    for dim in spec.follower_dims:
        size *= len(spec.labels[dim])
    return size


def _seconds(plan: Plan, followers: np.ndarray | None, workers: int) -> float:
    """The price of each kind of pack, times how often it comes; rare kinds cost what the timed ones do on average."""
    if not len(plan.pending):
        return 0.0
    torch.set_num_threads(1)
    kinds = _kinds(plan)
    runs = np.bincount(kinds)
    trainings = np.bincount(kinds[_first_users(plan, followers)], minlength=len(runs))
    timed = np.argsort(-runs, kind="stable")[:MOST_KINDS]
    sizes = PackSizes(plan, workers)
    total = 0.0
    for kind in timed:
        of_kind = by_seeds(plan.spec, plan.pending[kinds == kind])
        size = sizes.of(plan.spec.run(index_at(plan.spec, of_kind[0])))
        leaders, follower = _prices([plan.spec.run(index_at(plan.spec, flat)) for flat in of_kind[:size]])
        total += leaders * math.ceil(runs[kind] / size) + follower * trainings[kind]
    everything = total * float(runs.sum() / runs[timed].sum())
    return everything / min(workers, plan.most_tasks_at_once)


def _kinds(plan: Plan) -> np.ndarray:
    """A number from 0 for each pending run, equal for runs that can share a pack."""
    spec = plan.spec
    if not spec.shape:
        return np.zeros(len(plan.pending), dtype=np.intp)
    classes = [_classes(spec, dim) for dim in spec.dims]
    along = zip(classes, np.unravel_index(plan.pending, spec.shape), strict=True)
    keys = np.ravel_multi_index([each[positions] for each, positions in along], spec.shape)
    kinds: np.ndarray = np.unique(keys, return_inverse=True)[1]
    return kinds


def _classes(spec: SweepSpec, dim: str) -> np.ndarray:
    """A number below the length for each label of a dim, equal for labels whose runs can share a pack.

    Two runs tell for all, since a pack either needs one value of a setting or takes any; only games differ in shape.
    """
    labels = spec.labels[dim]
    if dim == "matrix":
        shapes = [(len(payoffs), len(payoffs[0])) for payoffs in (spec.games[str(label)] for label in labels)]
        return np.array([shapes.index(shape) for shape in shapes])
    neighbours = [tuple(k if other == dim else 0 for other in spec.dims) for k in range(min(2, len(labels)))]
    shared = len({spec.run(index).pack_key for index in neighbours}) == 1
    return np.zeros(len(labels), dtype=np.intp) if shared else np.arange(len(labels))


def _first_users(plan: Plan, followers: np.ndarray | None) -> np.ndarray:
    """Where in `plan.pending` the first run stands that needs each follower that is to be trained."""
    if followers is None:
        return np.zeros(0, dtype=np.intp)
    flat = with_follower(plan.spec, plan.pending)
    needed, first = np.unique(follower_positions(plan.spec, flat), return_index=True)
    untrained = followers.flat[needed] != Status.DONE
    found: np.ndarray = np.searchsorted(plan.pending, flat[first[untrained]])
    return found


def _prices(runs: Sequence[RunSpec]) -> tuple[float, float]:
    """Seconds of a pack of leaders, and of one of the followers they need (0 if none)."""
    leaders = _extrapolate(lambda n: _time_leaders(runs, n), runs[0].leader.updates)
    followers = [follower for run in runs if (follower := run.follower_spec()) is not None]
    if not followers:
        return leaders, 0.0
    followers = followers[: most_runs(followers[0])]
    pack = _extrapolate(lambda n: _time_followers(followers, n), followers[0].follower.updates)
    return leaders, pack / len(followers)


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
    return np.zeros(follower.follower.parameter_shape(follower.to_game()))


def _time_followers(specs: Sequence[FollowerSpec], updates: int) -> float:
    short = [s.model_copy(update={"follower": s.follower.model_copy(update={"updates": updates})}) for s in specs]
    started = time.perf_counter()
    train_followers(short)
    return time.perf_counter() - started
