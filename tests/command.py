"""Run the real command, and the processes of a real cluster, so that nothing outlives a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

TINY = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 2}
evaluation_episodes: 2
axes:
  matrix: [chicken, battle]
  seed: [1, 2]
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
ENVIRONMENT.pop("PYTHONWARNINGS", None)  # as a user has it


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def stackpop(
    *arguments: object, cwd: Path | None = None, timeout: float = 120, more: Mapping[str, str] | None = None
) -> Answer:
    """`stackpop ARGUMENTS` to its end; `more` is added to its environment."""
    command = [sys.executable, "-m", "stackpop", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**ENVIRONMENT, **(more or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(
    *command: object,
    cwd: Path | None = None,
    stdout: IO[str] | int | None = subprocess.DEVNULL,
    stderr: IO[str] | int | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own; it and all it started are gone afterwards. `more` as for `stackpop`."""
    words = [str(word) for word in command]
    environment = {**ENVIRONMENT, **(more or {})}
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=stdout, stderr=stderr, text=True, start_new_session=True,
        preexec_fn=_heed_interrupts,
    )  # fmt: skip
    try:
        yield process
    finally:
        for straggler in session(process.pid):
            kill(straggler)
        process.kill()
        process.wait()


def _heed_interrupts() -> None:
    """A shell's background job ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def session(leader: int) -> list[psutil.Process]:
    """The living processes of a session, but for its leader."""
    return [psutil.Process(pid) for pid in psutil.pids() if pid != leader and _in_session(pid, leader)]


def _in_session(pid: int, leader: int) -> bool:
    try:
        return os.getsid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def command_line(process: psutil.Process) -> str:
    """Empty, if the process has ended since it was listed."""
    with suppress(psutil.NoSuchProcess):  # a zombie is one, too
        return " ".join(process.cmdline())
    return ""


def kill(process: psutil.Process) -> None:
    """SIGKILL; nothing happens if the process has ended since it was listed."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def heeds(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal by now; a signal before that just ends it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def free_port() -> int:
    """A port of the loopback address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.02)


@contextmanager
def scheduler(
    folder: Path, *, within: Sequence[str] = (), host: str = "127.0.0.1", more: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A scheduler on a free loopback port: the file it wrote, and its process.

    within: a command that runs it elsewhere, where `host` is; more: as for `stackpop`.
    """
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    options = ["--host", host, "--port", "0", "--no-dashboard", "--scheduler-file", file]
    with started(*within, *_dask("scheduler"), *options, stderr=subprocess.DEVNULL, more=more) as process:
        until(file.exists)
        yield file, process


@contextmanager
def worker(
    scheduler_file: Path,
    folder: Path,
    *options: object,
    within: Sequence[str] = (),
    host: str = "127.0.0.1",
    more: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A worker with its nanny, which starts it again if it dies; with one thread, unless `options` say otherwise."""
    threads = () if "--nthreads" in options else ("--nthreads", "1")
    given = ["--host", host, "--no-dashboard", "--local-directory", folder, *threads, *options]
    command = [*within, *_dask("worker"), "--scheduler-file", scheduler_file, *given]
    with started(*command, stderr=subprocess.DEVNULL, more=more) as process:
        yield process


def _dask(command: str) -> list[str]:
    return [sys.executable, "-c", "from dask.__main__ import main; main()", command]
