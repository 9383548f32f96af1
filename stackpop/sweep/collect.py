"""Submit what a plan still needs, a bounded number of tasks at a time, and record what comes back."""

from __future__ import annotations

import dataclasses
import queue
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from dask.utils import key_split
from distributed import Client, Future, KilledWorker

from stackpop.cluster import Workers, check_connection
from stackpop.errors import explain
from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec, SweepSpec
from stackpop.store import ResultsWriter
from stackpop.sweep.board import Board
from stackpop.sweep.followers import Followers
from stackpop.sweep.packing import PackSizes, most_runs
from stackpop.sweep.plan import Index, Plan, grouped, packs
from stackpop.sweep.progress import Progress, Watcher
from stackpop.sweep.search import Trials
from stackpop.sweep.stacks import unstacked
from stackpop.sweep.starts import Blame, Course, Loss, Starts
from stackpop.sweep.tasks import FollowerResults, solve_game, told, train_follower_pack, train_leader_pack

# Enough tasks in flight that no worker waits for the client; few enough that the scheduler holds next to nothing.
TASKS_PER_THREAD = 3
MOST_ATTEMPTS = 3
# Workers that a task may lose while nobody else gives it up: some are lost to walltimes and pre-emption.
MOST_LOSSES = 5
REPORT_SECONDS = 0.25

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
    """A pack of leaders in flight."""

    future: Future[Any]
    pack: LeaderPack
    attempt: int


Task = SolveTask | FollowerTask | LeaderTask


class Collector:
    """Runs one plan on one cluster into one store. The only thread that touches the writer is the caller's."""

    def __init__(
        self,
        client: Client,
        workers: Workers,
        writer: ResultsWriter,
        plan: Plan,
        watcher: Watcher,
        run_limit: float | None = None,
    ) -> None:
        self._client, self._workers, self._writer, self._plan = client, workers, writer, plan
        self._watcher, self._run_limit = watcher, run_limit
        self.progress = Progress(plan, plan.done, plan.failed)
        self._followers = Followers(plan.spec, writer.followers)
        self._games = deque((index, 1) for index in writer.missing_ground_truth())  # (index, attempt)
        search = plan.spec.search
        self._sizes = PackSizes(plan, workers.threads())
        self._board = Board(client, plan.spec)
        self._leaders = iter(()) if search else packs(plan, self._sizes.of)
        self._trials = Trials(search, plan, writer, watcher.warn, self._sizes.of) if search else None
        self._again: deque[tuple[LeaderPack, int]] = deque()  # lost packs, each with its next attempt
        self._aside: deque[tuple[LeaderPack, int]] = deque()  # runs to be tried when nothing else is in flight
        self._starts = Starts()
        self._follower_losses: Counter[Index] = Counter()
        self._suspects: set[Index] = set()  # followers that may have lost workers
        self._tasks: dict[str, Task] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._unwritten: list[TrainingResult] = []
        self._serial = 0

    def run(self) -> None:
        """Until nothing is left to do. On any interruption, what has come back is recorded first.

        Raises:
            ClusterError: the scheduler went away, or a worker with other versions joined.
            StoreError: the disk refuses.
        """
        self.progress.threads = self._workers.threads()
        try:
            with self._starts.listening(self._client):
                while self._fill() or self._tasks:
                    self._collect()
                    self._cut_short()
                    if self._writer.maybe_flush():  # about once a second
                        self._count_written()
                        self.progress.threads = self._workers.threads()
                        self._board.tell(self.progress, self._writer.leaders.status)
                    self._watcher.report(self.progress)
                self._workers.settle()
        finally:
            for task in self._tasks.values():
                task.future.release()
            self._writer.flush()
            self._count_written()

    def _fill(self) -> bool:
        """Submit tasks as long as few are in flight; whether any was submitted."""
        threads = max(1, self.progress.threads, self._workers.threads_to_come)
        before, most = self._serial, TASKS_PER_THREAD * threads
        while len(self._tasks) < most:
            if self._games:
                self._submit_game(*self._games.popleft())
            elif self._again:
                self._submit_leaders(*self._again.popleft())
            elif pack := self._next_pack():
                self._sizes.handed_out(len(pack))
                self._submit_leaders(pack, attempt=1)
            elif self._aside and not self._tasks:
                self._submit_leaders(*self._aside.popleft())
                break
            else:
                break
        return self._serial > before

    def _next_pack(self) -> LeaderPack | None:
        """Runs that can start now and were not started yet."""
        if self._trials is None:
            return next(self._leaders, None)
        pack = self._trials.next_pack()
        if pack is None and self._trials.awaits_flush:
            self._writer.flush()
            self._count_written()
            pack = self._trials.next_pack()
        return pack

    def _submit(
        self, kind: str, labels: Sequence[str], content: str, function: Any, *args: Any, training: bool = True
    ) -> Future[Any]:
        """One task, under a key that a person can read on the dashboard; trainings go where the GPUs are."""
        self._serial += 1
        more = f"+{len(labels) - 1}" if len(labels) > 1 else ""
        # A key names one submission: a task that is tried again must not meet its own lost future.
        key = f"{kind}-{labels[0]}{more}-{content}-{self._serial}"  # see `task_prefixes`
        resources = self._workers.resources if training else {}
        return self._client.submit(told, self._starts.topic, function, *args, key=key, pure=False, resources=resources)

    def _watch(self, task: Task) -> None:
        self._tasks[str(task.future.key)] = task
        task.future.add_done_callback(lambda future: self._ended.put(str(future.key)))

    def _submit_game(self, index: Index, attempt: int) -> None:
        label, game = self._game(index)
        future = self._submit("solve", [label], game.memory, solve_game, game, training=False)
        self._watch(SolveTask(future, index, attempt))

    def _game(self, index: Index) -> tuple[str, Game]:
        spec = self._plan.spec
        at = dict(zip(spec.game_dims, index, strict=True))
        run = spec.run(tuple(at.get(dim, 0) for dim in spec.dims))
        return run.matrix, run.to_game()

    def _submit_leaders(self, pack: LeaderPack, attempt: int) -> None:
        specs = [spec for _, spec in pack]
        trained = self._trained_followers(pack)
        labels = [spec.label for spec in specs]
        future = self._submit(
            "leader", labels, specs[0].run_id, train_leader_pack, specs, trained, self._plan.spec.device
        )
        for index, _ in pack:
            self._writer.leaders.mark_running(index)
        self.progress.in_flight += len(pack)
        self._watch(LeaderTask(future, pack, attempt))

    def _trained_followers(self, pack: LeaderPack) -> list[Future[Any] | FollowerResults]:
        """What a pack of leaders trains against: tasks it depends on, and results that are there already."""
        needed = {self._followers.index_of(index): spec for index, run in pack if (spec := run.follower_spec())}
        known: FollowerResults = {}
        missing: list[tuple[Index, FollowerSpec]] = []
        for index, spec in needed.items():
            if self._followers.in_training(index):
                continue
            if result := self._followers.known(index, spec):
                known[spec.follower_id] = result
            else:
                missing.append((index, spec))
        for group in grouped(iter(missing), lambda item: item[1].pack_key, lambda item: most_runs(item[1])):
            self._submit_followers(group)
        futures = (self._followers.in_training(index) for index in needed)
        return [known, *dict.fromkeys(future for future in futures if future)]

    def _submit_followers(self, pack: FollowerPack) -> None:
        specs = [spec for _, spec in pack]
        labels = [spec.label for spec in specs]
        future = self._submit(
            "follower", labels, specs[0].follower_id, train_follower_pack, specs, self._plan.spec.device
        )
        self._followers.started([index for index, _ in pack], future)
        self._watch(FollowerTask(future, pack))

    def _collect(self) -> None:
        """Wait briefly for tasks to end, and take what they hold."""
        # Followers first: where a leader goes that was lost with its follower depends on what became of that.
        for key in sorted(self._ended_tasks(), key=lambda key: isinstance(self._tasks.get(key), LeaderTask)):
            task = self._tasks.pop(key, None)
            if task is None:  # it was cut short
                continue
            try:
                result = task.future.result()
            except Exception as error:  # the task's own code raises nothing, so the cluster did
                check_connection(self._client)
                self._lost(task, self._loss(key, error))
            else:
                self._starts.ended(key)
                self._take(task, result)
            task.future.release()
        check_connection(self._client)

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

    def _cut_short(self) -> None:
        """Take off the cluster what runs too long or loses worker after worker.

        A thread cannot be stopped, so its worker's process is; what waits there goes elsewhere.
        """
        self._starts.take_in(self._tasks)
        for key, course in self._starts.running():
            if course.worker and (loss := self._excess(self._tasks[key], course)):
                task = self._tasks.pop(key)
                self._starts.cut(key)
                self._lost(task, loss)
                task.future.cancel(reason=loss.reason)
                self._workers.restart(course.worker)

    def _excess(self, task: Task, course: Course) -> Loss | None:
        """Why a task that runs must be cut short, if so."""
        if loss := _many_lost(course, MOST_LOSSES):
            return loss
        if self._run_limit is None or isinstance(task, SolveTask):
            return None
        seconds = time.monotonic() - course.since
        if seconds <= self._run_limit * len(task.pack):
            return None
        expected, got = f"an end within {self._run_limit:g} s", f"none after {seconds:.0f} s"
        remedy = "raise it, or leave it out for no limit"
        return Loss(explain("run_limit", expected=expected, got=got, remedy=remedy), Blame.CERTAIN, course.losses)

    def _ended_tasks(self) -> Iterator[str]:
        try:
            yield self._ended.get(timeout=REPORT_SECONDS)
            while True:
                yield self._ended.get_nowait()
        except queue.Empty:
            return

    def _take(self, task: Task, result: Any) -> None:
        if isinstance(task, SolveTask):
            self._writer.record_ground_truth(task.index, result)
        elif isinstance(task, FollowerTask):
            for index, spec in task.pack:
                self._followers.ended(index, result[spec.follower_id])
                self.progress.env_steps += _env_steps(result[spec.follower_id])
                self.progress.followers_done += 1
        else:
            self.progress.in_flight -= len(task.pack)
            results = unstacked(result)
            self._sizes.took(task.pack[0][1], results)
            for (index, _), one in zip(task.pack, results, strict=True):
                self._record_leader(index, one, task.attempt)

    def _record_leader(self, index: Index, result: TrainingResult, attempt: int) -> None:
        self._writer.leaders.record(index, dataclasses.replace(result, attempts=attempt))
        self._unwritten.append(result)
        self._board.record(index, result)
        if self._trials is not None:
            self._trials.recorded(index)

    def _lost(self, task: Task, loss: Loss) -> None:
        """A task did not come back. Its runs are tried again one by one, and blamed only when alone."""
        if isinstance(task, SolveTask):
            if _to_blame(loss, task.attempt):
                self._unsolved(task.index, loss.reason)
            else:
                self._games.append((task.index, task.attempt + 1))
        elif isinstance(task, FollowerTask):
            self._lost_followers(task.pack, loss)
        else:
            self._lost_leaders(task, loss)

    def _lost_followers(self, pack: FollowerPack, loss: Loss) -> None:
        """Their leaders are lost with them, and ask for them again, or for the error of the one that is to blame."""
        if len(pack) > 1:
            return
        index, _ = pack[0]
        self._follower_losses[index] += loss.blame != Blame.NONE
        losses = self._follower_losses[index]
        if _to_blame(loss, losses):
            self._followers.ended(index, TrainingResult({}, loss.reason, attempts=losses + loss.workers))
        elif loss.blame == Blame.SHARED:
            self._suspects.add(index)

    def _lost_leaders(self, task: LeaderTask, loss: Loss) -> None:
        self.progress.in_flight -= len(task.pack)
        alone = len(task.pack) == 1
        if alone and _to_blame(loss, task.attempt):
            self._record_leader(task.pack[0][0], TrainingResult({}, loss.reason), task.attempt + loss.workers)
            return
        attempt = task.attempt + (loss.blame != Blame.NONE)
        for item in task.pack:
            suspect = alone and loss.blame == Blame.SHARED
            aside = suspect or self._followers.index_of(item[0]) in self._suspects
            (self._aside if aside else self._again).append(([item], attempt))

    def _unsolved(self, index: Index, reason: str) -> None:
        label, _ = self._game(index)
        self._watcher.warn(f"{label}: no exact values, solving failed {MOST_ATTEMPTS} times, the last with {reason}")

    def _count_written(self) -> None:
        """Only what is durable counts as done."""
        written, self._unwritten = self._unwritten, []
        for result in written:
            self.progress.finished_now += 1
            self.progress.blocked += result.blocked
            self.progress.failed += result.failed and not result.blocked
            self.progress.done += not result.failed
            self.progress.env_steps += _env_steps(result)


def _many_lost(course: Course, most: int) -> Loss | None:
    """What is to say of a task that lost so many workers, one after the other."""
    if course.losses < most:
        return None
    expected, got = "it to stay while this trains on it", f"{course.losses} lost in turn"
    remedy = "if memory ran out, give workers more, or the run smaller batches"
    reason = explain("worker", expected=expected, got=got, remedy=remedy)
    return Loss(reason, Blame.SHARED if course.accompanied else Blame.CERTAIN, course.losses)


def _to_blame(loss: Loss, attempt: int) -> bool:
    """Whether what was lost alone, for the so manyth time, is not tried again."""
    return loss.blame == Blame.CERTAIN or (loss.blame == Blame.LIKELY and attempt >= MOST_ATTEMPTS)


def task_prefixes(spec: SweepSpec) -> set[str]:
    """What Dask makes of the keys of a sweep's trainings: tasks of a prefix count as alike, and so as long."""
    return {key_split(f"{kind}-{label}-s0") for kind in ("leader", "follower") for label in spec.games}


def _env_steps(result: TrainingResult) -> int:
    return 0 if result.failed else int(result.arrays["env_steps"][-1])
