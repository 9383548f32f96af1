"""Submit what a plan still needs, a bounded number of tasks at a time, and record what comes back."""

from __future__ import annotations

import dataclasses
import queue
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dask.utils import key_split
from distributed import Client, Future

from stackpop.cluster import Workers, check_connection
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
from stackpop.sweep.tasks import FollowerResults, solve_game, train_follower_pack, train_leader_pack

# Enough tasks in flight that no worker waits for the client; few enough that the scheduler holds next to nothing.
TASKS_PER_THREAD = 3
MOST_ATTEMPTS = 3
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

    def __init__(self, client: Client, workers: Workers, writer: ResultsWriter, plan: Plan, watcher: Watcher) -> None:
        self._client, self._workers, self._writer, self._plan = client, workers, writer, plan
        self._watcher = watcher
        self.progress = Progress(plan, plan.done, plan.failed)
        self._followers = Followers(plan.spec, writer.followers)
        self._games = deque((index, 1) for index in writer.missing_ground_truth())  # (index, attempt)
        search = plan.spec.search
        self._sizes = PackSizes(plan, workers.threads())
        self._board = Board(client, plan.spec)
        self._leaders = iter(()) if search else packs(plan, self._sizes.of)
        self._trials = Trials(search, plan, writer, watcher.warn, self._sizes.of) if search else None
        self._again: deque[tuple[LeaderPack, int]] = deque()  # lost packs, each with its next attempt
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
            while self._fill() or self._tasks:
                self._collect()
                if self._writer.maybe_flush():  # about once a second
                    self._count_written()
                    self.progress.threads = self._workers.threads()
                    self._board.tell(self.progress, self._writer.leaders.status)
                self._watcher.report(self.progress)
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
        return self._client.submit(function, *args, key=key, pure=False, resources=resources)

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
        for key in self._ended_tasks():
            task = self._tasks.pop(key)
            try:
                result = task.future.result()
            except Exception as error:  # the task's own code raises nothing, so the cluster did
                check_connection(self._client)
                self._lost(task, error)
            else:
                self._take(task, result)
            task.future.release()

    def _ended_tasks(self) -> Iterator[str]:
        try:
            yield self._ended.get(timeout=REPORT_SECONDS)
            while True:
                yield self._ended.get_nowait()
        except queue.Empty:
            check_connection(self._client)

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

    def _lost(self, task: Task, error: Exception) -> None:
        """A task did not come back. Its runs are tried again one by one, and blamed only when alone.

        A lost follower needs nothing here: its leaders are lost with it, and ask for it again.
        """
        if isinstance(task, SolveTask):
            if task.attempt < MOST_ATTEMPTS:
                self._games.append((task.index, task.attempt + 1))
            else:
                self._unsolved(task.index, error)
        elif isinstance(task, LeaderTask):
            self.progress.in_flight -= len(task.pack)
            if len(task.pack) == 1 and task.attempt >= MOST_ATTEMPTS:
                result = TrainingResult({}, f"{type(error).__name__}: {error}")
                self._record_leader(task.pack[0][0], result, task.attempt)
            else:
                self._again.extend(([item], task.attempt + 1) for item in task.pack)

    def _unsolved(self, index: Index, error: Exception) -> None:
        label, _ = self._game(index)
        reason = f"{type(error).__name__}: {error}"
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


def task_prefixes(spec: SweepSpec) -> set[str]:
    """What Dask makes of the keys of a sweep's trainings: tasks of a prefix count as alike, and so as long."""
    return {key_split(f"{kind}-{label}-s0") for kind in ("leader", "follower") for label in spec.games}


def _env_steps(result: TrainingResult) -> int:
    return 0 if result.failed else int(result.arrays["env_steps"][-1])
