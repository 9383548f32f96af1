"""From a store to a tracker: every run that has ended and is not there yet."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

from stackpop.errors import StackpopError, TrackerFailedError, TrackingError, explain
from stackpop.tracking.runs import RunKey, TrackedRun, ended_runs

TrackerName = Literal["wandb", "tensorboard"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)


class Tracker(Protocol):
    """Where runs are logged. One process uses it at a time."""

    where: str

    def has(self, key: RunKey) -> bool:
        """Whether a run is there, complete."""

    def log(self, run: TrackedRun) -> None:
        """Log a run that is not there, to its end."""


def check_installed(name: TrackerName) -> None:
    """Raises TrackingError if a tracker's package is not there; imports nothing."""
    found = find_spec(name)
    if found is None or found.origin is None:  # a mere folder of that name, which wandb leaves where it worked
        remedy = "install the extra: pip install 'stackpop[track]'"
        raise TrackingError(explain(f"tracker {name}", expected=f"the package {name}", got="none", remedy=remedy))


def default_folder(store: str | os.PathLike[str]) -> Path:
    """Where a store's tracking lies: beside it, never in it; that of a URL in `results`."""
    from stackpop.store import beside

    return beside(store, ".tracking")


def replay(
    store: str | os.PathLike[str],
    to: TrackerName,
    *,
    folder: str | os.PathLike[str] | None = None,
    project: str | None = None,
    before_each: Callable[[RunKey], None] = lambda _: None,
) -> Mapping[str, int | str]:
    """Log what has ended and is not logged yet; safe while a sweep writes to the store, and at any interruption.

    folder: for event files, wandb's files and what is remembered; by default `<store>.tracking`. project: wandb's,
    by default `WANDB_PROJECT`, else stackpop. Result: how many runs were `logged` now, how many `before`, and `where`.

    Raises:
        StoreError, SpecError: the store cannot be read.
        TrackingError: the package is missing, another process tracks there, or logging failed; what was logged stays.
    """
    check_installed(to)
    place = default_folder(store) if folder is None else Path(folder).resolve()
    before = logged = 0

    def wanted(key: RunKey) -> bool:
        nonlocal before
        known = tracker.has(key)
        before += known
        return not known

    with _faults(to, store), _alone(store, place):
        tracker = _tracker(to, place, project)
        for run in ended_runs(store, wanted):
            if not tracker.has(run.key):  # two places of a grid can hold one run
                before_each(run.key)
                tracker.log(run)
                logged += 1
    return {"logged": logged, "before": before, "where": tracker.where}


def _tracker(name: TrackerName, folder: Path, project: str | None) -> Tracker:
    if name == "wandb":
        from stackpop.tracking.wandb import WeightsAndBiases

        return WeightsAndBiases(folder, project)
    from stackpop.tracking.tensorboard import TensorBoard

    return TensorBoard(folder)


@contextmanager
def _faults(name: TrackerName, store: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever a tracker raises, as one line."""
    try:
        yield
    except StackpopError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        remedy = f"`stackpop track {os.fspath(store)} --to {name}` goes on from there"
        got = f"{type(error).__name__}: {reason}"
        raise TrackerFailedError(explain(f"tracker {name}", expected="an answer", got=got, remedy=remedy)) from error


@contextmanager
def _alone(store: str | os.PathLike[str], folder: Path) -> Iterator[None]:
    """One replay at a time; the operating system gives the lock back when a process dies."""
    from stackpop.store import open_results

    open_results(store).close()  # what is no store gets no folder beside it
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            got = "another `stackpop track` or sweep at work there"
            raise TrackingError(explain(f"folder {folder}", expected="it free", got=got, remedy="try later")) from None
        yield
