"""The tasks of a sweep in flight: keys that a person can read, and a reason for each task that does not come back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask.config
from dask.utils import key_split
from distributed import Client, Future, KilledWorker

from stackpop.cluster import Workers, check_connection
from stackpop.errors import explain
from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec, SweepSpec
from stackpop.sweep.plan import Index
from stackpop.sweep.stacks import stacked
from stackpop.sweep.starts import MOST_ATTEMPTS, MOST_LOSSES, Blame, Course, Loss, Starts
from stackpop.sweep.tasks import FollowerResults, solve_game, told, train_follower_pack, train_leader_pack

REPORT_SECONDS = 0.25
FETCH_SECONDS = 5.0  # after them, a result is looked for later

LeaderPack = Sequence[tuple[Index, RunSpec]]
FollowerPack = Sequence[tuple[Index, FollowerSpec]]


@dataclass(frozen=True)
class SolveTask:
    """Exact values of one game in flight."""

    future: Future[Any]
    index: Index
    attempt: int


@dataclass(frozen=True)
class FollowerTask:
    """A pack of followers in flight."""

    future: Future[Any]
    pack: FollowerPack


@dataclass(frozen=True)
class LeaderTask:
    """A pack of leaders in flight; seconds: what earlier segments of their trainings took, of all runs together."""

    future: Future[Any]
    pack: LeaderPack
    attempt: int
    seconds: float = 0.0


Task = SolveTask | FollowerTask | LeaderTask


class Flight:
    """Submits tasks to one cluster and takes back what came of them.

    submitted: how many tasks there have been. run_limit: seconds that a run may take, see `run_sweep`.
    """

    def __init__(self, client: Client, workers: Workers, spec: SweepSpec, run_limit: float | None = None) -> None:
        self._client, self._workers, self._run_limit = client, workers, run_limit
        self._device, self._segment = spec.device, spec.segment
        self._starts = Starts()
        self._tasks: dict[str, Task] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._coming: dict[str, concurrent.futures.Future[Any]] = {}
        self.submitted = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hear of the tasks for a while; those still in flight at the end are given up."""
        # A segment takes with it what its runs go on from, which may be more than Dask likes to send.
        quiet = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
        try:
            with quiet, self._starts.listening(self._client):
                yield
                self._workers.settle()
        finally:
            for task in self._tasks.values():
                task.future.release()

    def solve(self, label: str, game: Game, index: Index, attempt: int) -> None:
        """Exact values of a game; index: over the sweep's game dims."""
        future = self._submit("solve", [label], game.memory, solve_game, game, training=False)
        self._watch(SolveTask(future, index, attempt))

    def train_followers(self, pack: FollowerPack) -> Future[Any]:
        """A pack of followers; the task, for the leaders that wait for it."""
        specs = [spec for _, spec in pack]
        labels = [spec.label for spec in specs]
        future = self._submit("follower", labels, specs[0].follower_id, train_follower_pack, specs, self._device)
        self._watch(FollowerTask(future, pack))
        return future

    def train_leaders(
        self,
        pack: LeaderPack,
        earlier: Sequence[TrainingResult],
        trained: list[Future[Any] | FollowerResults],
        attempt: int,
    ) -> None:
        """The next segment of a pack of leaders.

        earlier: what each goes on from, nothing if none has begun. trained: tasks that train their followers, and
        results that are there already.
        """
        specs = [spec for _, spec in pack]
        labels = [spec.label for spec in specs]
        arguments = specs, stacked(earlier), trained, self._device, self._segment
        future = self._submit("leader", labels, specs[0].run_id, train_leader_pack, *arguments)
        self._watch(LeaderTask(future, pack, attempt, sum(result.wall_seconds for result in earlier)))

    def _submit(
        self, kind: str, labels: Sequence[str], content: str, function: Any, *args: Any, training: bool = True
    ) -> Future[Any]:
        """One task, under a key that a person can read on the dashboard; trainings go where the GPUs are."""
        self.submitted += 1
        more = f"+{len(labels) - 1}" if len(labels) > 1 else ""
        # A key names one submission: a task that is tried again must not meet its own lost future.
        key = f"{kind}-{labels[0]}{more}-{content}-{self.submitted}"  # see `task_prefixes`
        resources = self._workers.resources if training else {}
        return self._client.submit(told, self._starts.topic, function, *args, key=key, pure=False, resources=resources)

    def _watch(self, task: Task) -> None:
        self._tasks[str(task.future.key)] = task
        task.future.add_done_callback(lambda future: self._ended.put(str(future.key)))

    def landed(self) -> Iterator[tuple[Task, Any]]:
        """Wait briefly for tasks to end; each with its result, or with a `Loss` where there is none.

        Raises:
            SchedulerLostError: the scheduler went away.
        """
        # Followers first: where a leader goes that was lost with its follower depends on what became of that.
        for key in sorted(self._ended_keys(), key=lambda key: isinstance(self._tasks.get(key), LeaderTask)):
            if key in self._tasks:  # it was not cut short
                self._fetch(key)
                yield from self._fetched()
        yield from self._fetched()
        check_connection(self._client)
        yield from self._cut_short()

    def _fetch(self, key: str) -> None:
        """Ask for what came of a task, and wait for it, but not long.

        It may be lost with its worker, so that it comes from another, and for workers a sweep may have to ask.
        """
        loop: Any = self._client.loop
        late = bool(self._coming)  # what else ended on a lost worker is late as well
        coming = self._client.gather([self._tasks[key].future], asynchronous=True)
        self._coming[key] = asyncio.run_coroutine_threadsafe(coming, loop.asyncio_loop)
        concurrent.futures.wait([self._coming[key]], REPORT_SECONDS if late else FETCH_SECONDS)

    def _fetched(self) -> Iterator[tuple[Task, Any]]:
        """What was asked for and is there."""
        for key in [key for key, result in self._coming.items() if result.done()]:
            result, task = self._coming.pop(key), self._tasks.pop(key, None)
            if task is None:
                continue
            try:
                (outcome,) = result.result()
            except Exception as error:  # the task's own code raises nothing, so the cluster did
                check_connection(self._client)
                outcome = self._loss(key, error)
            else:
                self._starts.ended(key)
                outcome = self._used_up(task, outcome) or outcome
            yield task, outcome
            task.future.release()

    def _ended_keys(self) -> Iterator[str]:
        try:
            yield self._ended.get(timeout=REPORT_SECONDS)
            while True:
                yield self._ended.get_nowait()
        except queue.Empty:
            return

    def _loss(self, key: str, error: Exception) -> Loss:
        """Why a task did not come back, as far as the scheduler says."""
        reason = f"{type(error).__name__}: {error}"
        if not isinstance(error, KilledWorker | CancelledError):
            self._starts.ended(key)
            return Loss(reason, Blame.LIKELY)
        course = self._starts.lost(key)
        if course is None:
            return Loss(reason, Blame.NONE)
        return _many_lost(course, MOST_ATTEMPTS) or Loss(reason, Blame.SHARED if course.accompanied else Blame.LIKELY)

    def _used_up(self, task: Task, outcome: Any) -> Loss | None:
        """Why a training that could go on must not: segments may be over before anybody looks how long they take."""
        if isinstance(task, LeaderTask) and any(result.unfinished for result in outcome.results):
            return self._too_long(task, sum(result.wall_seconds for result in outcome.results))
        return None

    def _cut_short(self) -> Iterator[tuple[Task, Loss]]:
        """Take off the cluster what runs too long or loses worker after worker.

        A thread cannot be stopped, so its worker's process is; what waits there goes elsewhere.
        """
        self._starts.take_in(self._tasks)
        for key, course in self._starts.running():
            if course.worker and (loss := self._excess(self._tasks[key], course)):
                task = self._tasks.pop(key)
                self._starts.cut(key)
                yield task, loss
                task.future.cancel(reason=loss.reason)
                self._workers.restart(course.worker)

    def _excess(self, task: Task, course: Course) -> Loss | None:
        """Why a task that runs must be cut short, if so."""
        if loss := _many_lost(course, MOST_LOSSES):
            return loss
        if isinstance(task, SolveTask):
            return None
        seconds = time.monotonic() - course.since + (task.seconds if isinstance(task, LeaderTask) else 0)
        return self._too_long(task, seconds, course.losses)

    def _too_long(self, task: FollowerTask | LeaderTask, seconds: float, losses: int = 0) -> Loss | None:
        """Why a pack must not be trained on after so many seconds, if so."""
        if self._run_limit is None or seconds <= self._run_limit * len(task.pack):
            return None
        expected, got = f"an end within {self._run_limit:g} s", f"none after {seconds:.0f} s"
        remedy = "raise it, or leave it out for no limit"
        return Loss(explain("run_limit", expected=expected, got=got, remedy=remedy), Blame.CERTAIN, losses)


def _many_lost(course: Course, most: int) -> Loss | None:
    """What is to say of a task that lost so many workers, one after the other."""
    if course.losses < most:
        return None
    expected, got = "it to stay while this trains on it", f"{course.losses} lost in turn"
    remedy = "if memory ran out, give workers more, or the run smaller batches"
    reason = explain("worker", expected=expected, got=got, remedy=remedy)
    return Loss(reason, Blame.SHARED if course.accompanied else Blame.CERTAIN, course.losses)


def task_prefixes(spec: SweepSpec) -> set[str]:
    """What Dask makes of the keys of a sweep's trainings: tasks of a prefix count as alike, and so as long."""
    return {key_split(f"{kind}-{label}-s0") for kind in ("leader", "follower") for label in spec.games}
