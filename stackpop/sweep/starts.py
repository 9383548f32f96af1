"""Which tasks have started, where, how long ago, and which of them ran on a worker that was lost.

Dask knows what a worker that died held, not what it had begun: the tasks queued beside the one that kills workers look
just as suspicious. So each task tells when it starts, and one that starts again has lost the worker it ran on.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from uuid import uuid4

from distributed import Client

MOST_ATTEMPTS = 3
# Workers that a task may lose while nobody else gives it up: some are lost to walltimes and pre-emption.
MOST_LOSSES = 5


class Blame(Enum):
    """Whether a lost task lost itself.

    NONE: it never started, and was lost by another. SHARED: another ran on the same worker. LIKELY: it ran alone, but
    on workers that may be lost for any reason. CERTAIN: it ran alone too often, or too long.
    """

    NONE, SHARED, LIKELY, CERTAIN = range(4)


@dataclass(frozen=True)
class Loss:
    """Why a task did not come back; workers: how many were seen to be lost under it."""

    reason: str
    blame: Blame
    workers: int = 0

    def is_final(self, attempt: int) -> bool:
        """Whether what was lost alone, for the so manyth time, is not tried again."""
        return self.blame == Blame.CERTAIN or (self.blame == Blame.LIKELY and attempt >= MOST_ATTEMPTS)


@dataclass
class Course:
    """How a task goes that has started.

    worker: where it runs, "" if that was lost. since: when it started there, on the monotonic clock. losses: workers
    that were lost under it. accompanied: whether another task ran on one of those.
    """

    worker: str
    since: float
    losses: int = 0
    accompanied: bool = False


class Starts:
    """The courses of the tasks in flight. Only `hear` may be called from another thread."""

    def __init__(self) -> None:
        self.topic = f"stackpop-{uuid4().hex}"  # of Dask's events; two sweeps may share a scheduler, or even a client
        self._heard: queue.SimpleQueue[tuple[str, str, float]] = queue.SimpleQueue()
        self._courses: dict[str, Course] = {}

    @contextmanager
    def listening(self, client: Client) -> Iterator[None]:
        """Hear of the tasks that tell `topic`."""
        client.subscribe_topic(self.topic, self.hear)
        try:
            yield
        finally:
            if client.status == "running":
                client.unsubscribe_topic(self.topic)

    def hear(self, event: tuple[float, Mapping[str, str]]) -> None:
        """Dask's event (time, message), from the client's thread; times of other machines are not asked for."""
        self._heard.put((event[1]["key"], event[1]["worker"], time.monotonic()))

    def take_in(self, known: Container[str]) -> None:
        """What was heard since, of the tasks that are `known`: others have ended already."""
        while not self._heard.empty():
            key, worker, now = self._heard.get()
            if key in known:
                self.started(key, worker, now)

    def started(self, key: str, worker: str, now: float) -> None:
        """A task starts, for the first time or since the worker was lost that it ran on."""
        if course := self._courses.get(key):
            self._lose(course.worker)
            course.worker, course.since = worker, now
        else:
            self._courses[key] = Course(worker, now)

    def running(self) -> Iterator[tuple[str, Course]]:
        """The tasks that run, as far as is known, each with its course; after a `cut`, some may not."""
        yield from [(key, course) for key, course in self._courses.items() if course.worker]

    def ended(self, key: str) -> None:
        """A task is over."""
        self._courses.pop(key, None)

    def lost(self, key: str) -> Course | None:
        """A task is given up with its worker; how it went, None if it never started."""
        course = self._courses.get(key)
        if course is not None:
            self._lose(course.worker)
            del self._courses[key]
        return course

    def cut(self, key: str) -> None:
        """A task is stopped, and its worker with it, for which the others there are not to blame."""
        cut = self._courses.pop(key)
        for course in self._courses.values():
            if course.worker == cut.worker:
                course.worker = ""

    def _lose(self, worker: str) -> None:
        """All that ran on a worker lost it, whichever is heard of first; nothing if that was known."""
        there = [course for course in self._courses.values() if worker and course.worker == worker]
        for course in there:
            course.worker, course.losses = "", course.losses + 1
            course.accompanied |= len(there) > 1
