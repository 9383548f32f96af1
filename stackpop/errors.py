"""What a user can get wrong, as exceptions that the command line prints as one clear line.

Every message names the field, what was expected, what came, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StackpopError(Exception):
    """Base of everything stackpop raises on purpose; the command line prints it without a traceback."""

    exit_code = 2


class SpecError(StackpopError):
    """A sweep file, a setting or a set of payoffs is not valid."""


class TooLargeError(StackpopError):
    """An exact answer would need an enumeration beyond the stated limit."""


class StoreError(StackpopError):
    """A result store cannot be read, written, or extended as asked."""


class ClusterError(StackpopError):
    """No Dask cluster could be started or reached, or it went away."""


class SchedulerLostError(ClusterError):
    """The scheduler was there and went away, which is not the user's mistake."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__(
            "scheduler: expected it to stay, got no connection any more; what was finished is in the store, "
            "run the same command again to resume"
        )


class NoWorkerError(ClusterError):
    """No worker came, or all went away, for longer than the user wants to wait."""

    exit_code = 1

    def __init__(self, seconds: float, state: str) -> None:
        got = f"none for {seconds:g} s ({state})" if state else f"none for {seconds:g} s"
        remedy = (
            "what was finished is in the store, run the same command again to resume, or raise cluster.wait_seconds"
        )
        super().__init__(explain("worker", expected="at least one", got=got, remedy=remedy))


class TrackingError(StackpopError):
    """Runs cannot be shown in an experiment tracker, which harms no result."""


class TrackerFailedError(TrackingError):
    """The tracker refused or did not answer, which is not the user's mistake."""

    exit_code = 1


class FailedRunsError(StackpopError):
    """The sweep is over, and some of its runs failed."""

    exit_code = 1


def explain(field: str, *, expected: str, got: object, remedy: str = "") -> str:
    """One line: the field, what was expected, what came, and what to do."""
    line = f"{field}: expected {expected}, got {got}"
    return f"{line}; {remedy}" if remedy else line


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy that suggests the nearest known name, or lists the known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(choices)}"
