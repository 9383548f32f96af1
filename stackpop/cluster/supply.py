"""Where the workers of a cluster come from, as far as a sweep must know."""

from __future__ import annotations


class Supply:
    """Workers that come by themselves.

    A sweep calls `tend` about once a second, in its own thread; whatever goes wrong there must not stop it.
    threads: how many there will be, as far as is known. wait_seconds: how long a sweep goes on without any worker;
    None: for ever. warning: what a user should know of this cluster, "" if nothing.
    """

    threads: int = 0
    wait_seconds: float | None = None
    warning: str = ""

    def __init__(self, threads: int = 0, wait_seconds: float | None = None) -> None:
        self.threads, self.wait_seconds = threads, wait_seconds

    def tend(self) -> None:
        """See to it that lost workers come back."""

    @property
    def state(self) -> str:
        """What there is to look at while no worker comes, "" if nothing."""
        return ""
