"""Submit what a plan still needs, a bounded number of tasks at a time, and record what comes back."""

from __future__ import annotations

import dataclasses
import queue
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Client, Future

from stackpop.errors import ClusterError
from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec
from stackpop.store import ResultsWriter, Status
from stackpop.sweep.plan import Index, Plan, grouped, packs
from stackpop.sweep.progress import Progress, Report
from stackpop.sweep.tasks import FollowerResults, solve_game, train_follower_pack, train_leader_pack

# Enough tasks in flight that no worker waits for the client; few enough that the scheduler holds next to nothing.
TASKS_PER_THREAD = 3
MOST_ATTEMPTS = 3
REPORT_SECONDS = 0.25
REMEMBERED_FOLLOWERS = 4096


@dataclass(frozen=True)
class Task:
    """Something in flight: what it is of, and the future that will hold it."""

    future: Future
    attempt: int = 1


@dataclass(frozen=True)
class SolveTask(Task):
    index: Index = ()


@dataclass(frozen=True)
class FollowerTask(Task):
    specs: Sequence[tuple[Index, FollowerSpec]] = ()


@dataclass(frozen=True)
class LeaderTask(Task):
    specs: Sequence[tuple[Index, RunSpec]] = ()


class Collector:
    """Runs one plan on one cluster into one store. The only thread that touches the writer is the caller's."""

    def __init__(self, client: Client, writer: ResultsWriter, plan: Plan, report: Report) -> None:
        self._client, self._writer, self._plan, self._report = client, writer, plan, report
        self.progress = Progress(plan, plan.done, plan.failed)
        self._tasks: dict[str, Task] = {}
        self._completed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._again: deque[tuple[int, list[tuple[Index, RunSpec]]]] = deque()
        self._training: dict[Index, Future] = {}  # follower -> task in flight
        self._logits: OrderedDict[Index, np.ndarray] = OrderedDict()  # followers trained lately
        self._unwritten: list[TrainingResult] = []
        self._serial = 0

    def run(self) -> None:
        """Until nothing is left to do. On any interruption, what has come back is recorded first.

        Raises:
            ClusterError: the scheduler went away.
        """
        threads = sum(self._client.nthreads().values()) or 1
        games = deque(self._writer.missing_ground_truth())
        leaders = packs(self._plan)
        try:
            while self._fill(games, leaders, TASKS_PER_THREAD * threads) or self._tasks:
                self._collect()
                self._flush(force=False)
        finally:
            for task in self._tasks.values():
                task.future.release()
            self._flush(force=True)

    def _fill(self, games: deque[Index], leaders: Iterator[list[tuple[Index, RunSpec]]], most: int) -> bool:
        """Submit tasks up to `most` in flight; whether any was submitted."""
        before = self._serial
        while len(self._tasks) < most:
            if games:
                self._submit_game(games.popleft())
            elif self._again:
                self._submit_leaders(*self._again.popleft())
            elif pack := next(leaders, None):
                self._submit_leaders(1, pack)
            else:
                break
        return self._serial > before

    def _submit(self, kind: str, labels: Sequence[str], content: str, function: Any, *args: Any) -> Future:
        """One task, under a key that a person can read on the dashboard."""
        self._serial += 1
        more = f"+{len(labels) - 1}" if len(labels) > 1 else ""
        key = f"{kind}-{labels[0]}{more}-{content}"
        # A key names one submission: a task that is tried again must not meet its own lost future.
        return self._client.submit(function, *args, key=f"{key}-{self._serial}", pure=False)

    def _watch(self, task: Task) -> None:
        self._tasks[task.future.key] = task
        task.future.add_done_callback(lambda future: self._completed.put(future.key))

    def _submit_game(self, index: Index, attempt: int = 1) -> None:
        label, game = self._game(index)
        future = self._submit("solve", [label], game.memory, solve_game, game)
        self._watch(SolveTask(future, attempt, index=index))

    def _game(self, index: Index) -> tuple[str, Game]:
        spec = self._plan.spec
        at = dict(zip(spec.game_dims, index, strict=True))
        run = spec.run(tuple(at.get(dim, 0) for dim in spec.dims))
        return run.matrix, run.to_game()

    def _submit_leaders(self, attempt: int, pack: list[tuple[Index, RunSpec]]) -> None:
        futures, stored = self._followers(pack)
        specs = [spec for _, spec in pack]
        labels = [spec.label for spec in specs]
        future = self._submit("leader", labels, specs[0].run_id, train_leader_pack, specs, futures, stored)
        for index, _ in pack:
            self._writer.leaders.mark_running(index)
        self.progress.running += len(pack)
        self._watch(LeaderTask(future, attempt, specs=pack))

    def _followers(self, pack: list[tuple[Index, RunSpec]]) -> tuple[list[Future], dict[str, np.ndarray]]:
        """What a pack of leaders trains against: tasks it depends on, and logits that are there already."""
        needed = {self._follower_index(index): follower for index, run in pack if (follower := run.follower_spec())}
        stored: dict[str, np.ndarray] = {}
        missing: list[tuple[Index, FollowerSpec]] = []
        for index, follower in needed.items():
            if index in self._training:
                continue
            logits = self._known_logits(index, follower)
            if logits is None:
                missing.append((index, follower))
            else:
                stored[follower.follower_id] = logits
        self._submit_followers(missing)
        return list(dict.fromkeys(self._training[i] for i in needed if i in self._training)), stored

    def _submit_followers(self, missing: list[tuple[Index, FollowerSpec]]) -> None:
        for group in grouped(iter(missing), lambda item: item[1].pack_key, max(1, len(missing))):
            specs = [spec for _, spec in group]
            labels = [spec.label for spec in specs]
            future = self._submit("follower", labels, specs[0].follower_id, train_follower_pack, specs)
            for index, _ in group:
                self._training[index] = future
                if self._writer.followers:
                    self._writer.followers.mark_running(index)
            self._watch(FollowerTask(future, specs=group))

    def _follower_index(self, index: Index) -> Index:
        at = dict(zip(self._plan.spec.dims, index, strict=True))
        return tuple(at[dim] for dim in self._plan.spec.follower_dims)

    def _known_logits(self, index: Index, follower: FollowerSpec) -> np.ndarray | None:
        """Logits [context, state, action] of a follower that is trained, from memory or the store."""
        if index in self._logits:
            return self._logits[index]
        writer = self._writer.followers
        if writer is None or writer.status[index] != Status.DONE:
            return None
        game = follower.to_game()
        padded = writer.read(index)["follower_logits"]
        return self._remember(index, padded[: game.leader_tables, : game.follower_states, : game.columns].copy())

    def _remember(self, index: Index, logits: np.ndarray) -> np.ndarray:
        self._logits[index] = logits
        if len(self._logits) > REMEMBERED_FOLLOWERS:
            self._logits.popitem(last=False)
        return logits

    def _collect(self) -> None:
        """Wait briefly for tasks to end, and take what they hold."""
        for key in self._ended():
            task = self._tasks.pop(key, None)
            if task is None:
                continue
            if task.future.status == "finished":
                self._take(task, task.future.result())
            elif task.future.status == "error":
                self._lost(task, task.future.exception())
            else:
                self._check_connection()
                self._lost(task, RuntimeError(f"the scheduler lost the task ({task.future.status})"))
            task.future.release()

    def _ended(self) -> Iterable[str]:
        try:
            yield self._completed.get(timeout=REPORT_SECONDS)
            while True:
                yield self._completed.get_nowait()
        except queue.Empty:
            self._check_connection()

    def _check_connection(self) -> None:
        if self._client.status != "running":
            raise ClusterError(
                "scheduler: expected it to stay, but it went away; what was finished is in the store, "
                "run the same command again to resume"
            )

    def _take(self, task: Task, result: Any) -> None:
        if isinstance(task, SolveTask):
            self._writer.record_ground_truth(task.index, result)
        elif isinstance(task, FollowerTask):
            self._take_followers(task, result)
        elif isinstance(task, LeaderTask):
            self.progress.running -= len(task.specs)
            for (index, _), one in zip(task.specs, result, strict=True):
                self._record_leader(index, one, task.attempt)

    def _take_followers(self, task: FollowerTask, results: FollowerResults) -> None:
        for index, spec in task.specs:
            result = results[spec.follower_id]
            self._training.pop(index, None)
            if self._writer.followers:
                self._writer.followers.record(index, result)
            if not result.error:
                self._remember(index, result.arrays["follower_logits"])
                self.progress.env_steps += int(result.arrays["env_steps"][-1])
            self.progress.followers_done += 1

    def _record_leader(self, index: Index, result: TrainingResult, attempt: int) -> None:
        self._writer.leaders.record(index, dataclasses.replace(result, attempts=attempt))
        self._unwritten.append(result)

    def _lost(self, task: Task, error: BaseException | None) -> None:
        """A task did not come back. Its runs are tried again one by one, and blamed only when alone."""
        if isinstance(task, SolveTask):
            if task.attempt < MOST_ATTEMPTS:
                self._submit_game(task.index, task.attempt + 1)
        elif isinstance(task, FollowerTask):
            for index, _ in task.specs:
                self._training.pop(index, None)
        elif isinstance(task, LeaderTask):
            self.progress.running -= len(task.specs)
            if len(task.specs) == 1 and task.attempt >= MOST_ATTEMPTS:
                message = f"{type(error).__name__}: {error}"
                self._record_leader(task.specs[0][0], TrainingResult({}, message), task.attempt)
            else:
                self._again.extend((task.attempt + 1, [item]) for item in task.specs)

    def _flush(self, *, force: bool) -> None:
        """Write what is due, and only then count it as done."""
        if force:
            self._writer.flush()
        elif not self._writer.maybe_flush():
            self._report(self.progress)
            return
        written, self._unwritten = self._unwritten, []
        for result in written:
            self.progress.finished_now += 1
            self.progress.failed += bool(result.error)
            self.progress.done += not result.error
            if not result.error:
                self.progress.env_steps += int(result.arrays["env_steps"][-1])
        self._report(self.progress)
