"""What a sweep still has to do, decided from the file and the store alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from stackpop.spec import TRAINED_ORACLES, RunSpec, SweepSpec
from stackpop.store import SEED, SEEDS_A_BLOCK, Status

Index = tuple[int, ...]
T = TypeVar("T")
RunsPerTask = int | Literal["auto"]
# A pack this large costs a sixth less a run than one of half its size, little more than a larger one, fills two blocks
# of the store, and is little to lose.
LARGEST_PACK = 128  # as planned; see `packing` for what is measured to take other sizes
EVEN_ROUNDS = 8  # packs a thread beyond which it matters little that the last ones are fewer


@dataclass(frozen=True)
class Plan:
    """What is done and what is to do.

    pending: flat indices of the runs to train, in the file's order. done, failed: runs that stay as they
    are. followers_to_train, followers_reused: follower trainings those runs need, and have in the store.
    auto: whether runs_per_task is where packs start, to be adapted.
    """

    spec: SweepSpec
    pending: np.ndarray
    done: int
    failed: int
    followers_to_train: int
    followers_reused: int
    runs_per_task: int
    auto: bool = False

    @property
    def tasks(self) -> int:
        """Leader tasks, if all pending runs can share packs."""
        return -(-len(self.pending) // self.runs_per_task)

    @property
    def most_tasks_at_once(self) -> int:
        """Leader tasks that can run at a time, given enough threads."""
        return -(-min(len(self.pending), self.spec.most_at_once) // self.runs_per_task)


def make_plan(
    spec: SweepSpec,
    leaders: np.ndarray,
    followers: np.ndarray | None,
    *,
    retry_failed: bool,
    runs_per_task: RunsPerTask,
    threads: int,
) -> Plan:
    """Compare the file with the store.

    leaders: status of each run, shape `spec.shape`. followers: status of each follower training over
    `spec.follower_dims`, or None without any. threads: how many tasks can run at once.
    """
    missing = ~np.isin(leaders, [Status.DONE] if retry_failed else [Status.DONE, Status.FAILED])
    pending = np.flatnonzero(missing)
    needed = np.zeros(0, dtype=np.int64)
    reused = 0
    if followers is not None:
        needed = np.unique(follower_positions(spec, with_follower(spec, pending)))
        reused = int((followers.flat[needed] == Status.DONE).sum())
    return Plan(
        spec,
        pending,
        done=int((leaders == Status.DONE).sum()),
        failed=0 if retry_failed else int((leaders == Status.FAILED).sum()),
        followers_to_train=len(needed) - reused,
        followers_reused=reused,
        runs_per_task=_pack_size(runs_per_task, min(len(pending), spec.most_at_once), threads),
        auto=runs_per_task == "auto",
    )


def _pack_size(wanted: RunsPerTask, runs: int, threads: int) -> int:
    """`auto`: as large as pays, and equal packs for every thread, so that none works on while the others are done."""
    if wanted != "auto":
        return min(wanted, max(1, runs))
    rounds = max(1, -(-runs // (threads * LARGEST_PACK)))  # packs that each thread takes, one after the other
    even = max(1, -(-runs // (threads * rounds)))
    return LARGEST_PACK if rounds > EVEN_ROUNDS else even


def with_follower(spec: SweepSpec, flat: np.ndarray) -> np.ndarray:
    """Those of the runs at `flat` whose oracle is trained; where the oracle is an axis, others may not be."""
    oracles = spec.labels.get("follower_oracle")
    if oracles is None:
        return flat
    along = np.unravel_index(flat, spec.shape)[spec.dims.index("follower_oracle")]
    trained: np.ndarray = flat[np.array([oracle in TRAINED_ORACLES for oracle in oracles])[along]]
    return trained


def follower_positions(spec: SweepSpec, flat: np.ndarray) -> np.ndarray:
    """Flat indices over `spec.follower_dims` of the followers that runs at `flat` train against."""
    shape = [len(spec.labels[dim]) for dim in spec.follower_dims]
    if not shape:
        return np.zeros_like(flat)
    by_dim = dict(zip(spec.dims, np.unravel_index(flat, spec.shape), strict=True))
    return np.ravel_multi_index([by_dim[dim] for dim in spec.follower_dims], shape)


def packs(plan: Plan, size: Callable[[RunSpec], int] | None = None) -> Iterator[list[tuple[Index, RunSpec]]]:
    """The pending runs in packs of one shape, made as they are asked for, some seeds of everything at a time.

    size: runs of the next pack of a run's kind, by default the plan's.
    """
    sized = size or (lambda _: plan.runs_per_task)
    indices = (index_at(plan.spec, flat) for flat in by_seeds(plan.spec, plan.pending))
    runs = ((index, plan.spec.run(index)) for index in indices)
    yield from grouped(runs, lambda item: item[1].pack_key, lambda item: sized(item[1]))


def by_seeds(spec: SweepSpec, flat: np.ndarray) -> np.ndarray:
    """Runs at `flat` in the order of training: first those of the first seeds, as many as share a chunk.

    So a pack has few seeds, whose random numbers it draws once, and all games have some results early.
    """
    if SEED not in spec.dims:
        return flat
    seeds = np.unravel_index(flat, spec.shape)[spec.dims.index(SEED)]
    ordered: np.ndarray = flat[np.argsort(seeds // SEEDS_A_BLOCK, kind="stable")]
    return ordered


def index_at(spec: SweepSpec, flat: int) -> Index:
    """The position in a sweep's grid of a flat index."""
    return tuple(int(i) for i in np.unravel_index(flat, spec.shape)) if spec.shape else ()


def grouped(items: Iterator[T], key: Callable[[T], str], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of items of equal key, each as soon as it has the size that its last item asks for, in order of arrival."""
    waiting: dict[str, list[T]] = {}
    for item in items:
        group = waiting.setdefault(key(item), [])
        group.append(item)
        if len(group) >= size(item):
            yield waiting.pop(key(item))
    yield from waiting.values()
