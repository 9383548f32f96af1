"""Track a sweep while it runs: a process of its own replays the store now and then."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

from stackpop.sweep import Plan, Progress, Watcher
from stackpop.tracking.replay import TrackerName

PAUSE_SECONDS = 30.0  # from the end of one replay to the next
NICENESS = 10  # workers come first


class Tracking(Watcher):
    """Passes on what a sweep tells its watcher, and has what is durable replayed meanwhile, or nothing (`to=None`).

    A tracker may be slow, hang or fail; in a process of its own it does so without the sweep. What it failed to
    log is left to the next replay. A context manager, which ends that process.
    """

    def __init__(self, store: str, to: TrackerName | None) -> None:
        self._watcher = Watcher()
        self._command = [sys.executable, "-m", "stackpop", "track", store, "--to", to] if to else []
        self._replay: tuple[subprocess.Popen[bytes], IO[bytes]] | None = None  # the process, and what it prints
        self._ended, self._replayed = time.monotonic(), 0
        self._failed = self._warned = False

    def telling(self, watcher: Watcher | None) -> Self:
        """Itself, with another watcher to pass things on to."""
        self._watcher = watcher or self._watcher
        return self

    def waiting(self, message: str) -> None:
        """There is no worker yet."""
        self._watcher.waiting(message)

    def warn(self, message: str) -> None:
        """Something went wrong that stops nothing."""
        self._watcher.warn(message)

    def announce(self, plan: Plan, dashboard: str | None) -> None:
        """The plan, once, before any work."""
        self._watcher.announce(plan, dashboard)

    def report(self, progress: Progress) -> None:
        """The progress, several times a second; starts a replay when one is due."""
        self._watcher.report(progress)
        if self._replay is not None:
            if self._replay[0].poll() is not None:
                self._settle()
        elif (
            self._command and progress.finished_now > self._replayed and time.monotonic() - self._ended >= PAUSE_SECONDS
        ):
            self._replayed = progress.finished_now
            self._start()

    def finish(self) -> str:
        """Replay the rest and wait for it; what the replay says of it, or "" if there is none or it failed."""
        said = self._settle()
        if self._command and not self._failed:
            self._start()
            said = self._settle()
        return "" if self._failed else said

    def _start(self) -> None:
        # A file, for a pipe that nobody reads would stop it.
        said = tempfile.TemporaryFile()  # noqa: SIM115 lives as long as the process
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            child = subprocess.Popen(  # noqa: S603 our own command
                self._command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environment
            )
        except OSError as error:
            said.close()
            self._fail(str(error))
            return
        self._replay = child, said
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)

    def _settle(self) -> str:
        """Wait for a replay to end; the last line it printed."""
        if self._replay is None:
            return ""
        child, said = self._replay
        code = child.wait()
        self._replay = None
        with said:
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
        self._ended = time.monotonic()
        self._failed = code != 0
        if self._failed:
            errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            self._fail(errors[-1] if errors else f"the replay ended with {code}")
        return lines[-1] if lines else ""

    def _fail(self, reason: str) -> None:
        """One warning a sweep."""
        self._failed = True
        if not self._warned:
            self._warned = True
            self._watcher.warn(f"tracking: {reason}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._replay is not None:
            child, said = self._replay
            child.kill()
            child.wait()
            said.close()
