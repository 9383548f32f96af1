"""Submit what a plan still needs, a bounded number of tasks at a time, and record what comes back."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from typing import Any

from distributed import Client, Future

from stackpop.cluster import Workers
from stackpop.games import Game
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec
from stackpop.store import ResultsWriter
from stackpop.sweep.board import Board
from stackpop.sweep.flight import Flight, FollowerPack, FollowerTask, LeaderPack, LeaderTask, SolveTask, Task
from stackpop.sweep.followers import Followers
from stackpop.sweep.packing import PackSizes, most_runs
from stackpop.sweep.plan import Index, Plan, grouped, packs
from stackpop.sweep.progress import Progress, Watcher
from stackpop.sweep.search import Trials
from stackpop.sweep.segments import Segments
from stackpop.sweep.stacks import unstacked
from stackpop.sweep.starts import MOST_ATTEMPTS, Blame, Loss
from stackpop.sweep.tasks import FollowerResults

# Enough tasks in flight that no worker waits for the client; few enough that the scheduler holds next to nothing.
TASKS_PER_THREAD = 3


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
        self._workers, self._writer, self._plan, self._watcher = workers, writer, plan, watcher
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
        self._flight = Flight(client, workers, plan.spec, run_limit)
        self._segments = Segments(writer.unfinished)
        self._follower_losses: Counter[Index] = Counter()
        self._suspects: set[Index] = set()  # followers that may have lost workers
        self._unwritten: list[TrainingResult] = []

    def run(self) -> None:
        """Until nothing is left to do. On any interruption, what has come back is recorded first.

        Raises:
            ClusterError: the scheduler went away, or a worker with other versions joined.
            StoreError: the disk refuses.
        """
        self.progress.threads = self._workers.threads()
        try:
            with self._flight.open():
                while self._fill() or self._flight:
                    for task, outcome in self._flight.landed():
                        if isinstance(outcome, Loss):
                            self._lost(task, outcome)
                        else:
                            self._take(task, outcome)
                    if self._writer.maybe_flush():  # about once a second
                        self._count_written()
                        self.progress.threads = self._workers.threads()
                        self._board.tell(self.progress, self._writer.leaders.status)
                    self._watcher.report(self.progress)
        finally:
            self._writer.flush()
            self._count_written()

    def _fill(self) -> bool:
        """Submit tasks as long as few are in flight; whether any was submitted."""
        threads = max(1, self.progress.threads, self._workers.threads_to_come)
        before, most = self._flight.submitted, TASKS_PER_THREAD * threads
        while len(self._flight) < most:
            if self._games:
                index, attempt = self._games.popleft()
                self._flight.solve(*self._game(index), index, attempt)
            elif self._again:
                self._submit_leaders(*self._again.popleft())
            elif pack := self._next_pack():
                self._sizes.handed_out(len(pack))
                self._submit_leaders(pack, attempt=1)
            elif self._aside and not self._flight:
                self._submit_leaders(*self._aside.popleft())
                break
            else:
                break
        return self._flight.submitted > before

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

    def _game(self, index: Index) -> tuple[str, Game]:
        spec = self._plan.spec
        at = dict(zip(spec.game_dims, index, strict=True))
        run = spec.run(tuple(at.get(dim, 0) for dim in spec.dims))
        return run.matrix, run.to_game()

    def _submit_leaders(self, pack: LeaderPack, attempt: int) -> None:
        for part, earlier in self._segments.parts(pack):
            self._flight.train_leaders(part, earlier, self._trained_followers(part), attempt)
        for index, _ in pack:
            self._writer.leaders.mark_running(index)
        self.progress.in_flight += len(pack)

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
            self._followers.started([index for index, _ in group], self._flight.train_followers(group))
        futures = (self._followers.in_training(index) for index in needed)
        return [known, *dict.fromkeys(future for future in futures if future)]

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
            self._take_leaders(task, unstacked(result))

    def _take_leaders(self, task: LeaderTask, results: list[TrainingResult]) -> None:
        both = list(zip(task.pack, results, strict=True))
        if cut := [(item, result) for item, result in both if result.unfinished]:
            pack = [item for item, _ in cut]
            self._segments.took(pack, [result for _, result in cut])
            self._again.append((pack, 1))
        ended = [(item, result) for item, result in both if not result.unfinished]
        self._sizes.took(task.pack[0][1], [result for _, result in ended])
        for (index, run), result in ended:
            self._record_leader(index, run, result, task.attempt)

    def _record_leader(self, index: Index, run: RunSpec, result: TrainingResult, attempt: int) -> None:
        self._segments.ended(run)
        self._writer.leaders.record(index, dataclasses.replace(result, attempts=attempt))
        self._unwritten.append(result)
        self._board.record(index, result)
        if self._trials is not None:
            self._trials.recorded(index)

    def _lost(self, task: Task, loss: Loss) -> None:
        """A task did not come back. Its runs are tried again one by one, and blamed only when alone."""
        if isinstance(task, SolveTask):
            if loss.is_final(task.attempt):
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
        if loss.is_final(losses):
            self._followers.ended(index, TrainingResult({}, loss.reason, attempts=losses + loss.workers))
        elif loss.blame == Blame.SHARED:
            self._suspects.add(index)

    def _lost_leaders(self, task: LeaderTask, loss: Loss) -> None:
        self.progress.in_flight -= len(task.pack)
        alone = len(task.pack) == 1
        if alone and loss.is_final(task.attempt):
            self._record_leader(*task.pack[0], TrainingResult({}, loss.reason), task.attempt + loss.workers)
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
        self._segments.flushed()
        written, self._unwritten = self._unwritten, []
        for result in written:
            self.progress.finished_now += 1
            self.progress.blocked += result.blocked
            self.progress.failed += result.failed and not result.blocked
            self.progress.done += not result.failed
            self.progress.env_steps += _env_steps(result)


def _env_steps(result: TrainingResult) -> int:
    return 0 if result.failed else int(result.arrays["env_steps"][-1])
