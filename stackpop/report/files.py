"""The report of a sweep as a file. To draw its figures takes most of the time: half of them another process draws.

So nothing is imported here that takes long, for that process is to begin first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackpop.errors import StackpopError, explain

# What another process has drawn, as far as it has; waits for it.
Others = Callable[[], list[dict[str, Any]]]


def write_report(store: str, file: Path) -> None:
    """Write the report of a sweep, finished or running: one HTML file that needs no network.

    Raises:
        StoreError: no store of ours.
        StackpopError: the place cannot be written to.
    """
    page = report_page(store)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        got = str(error.strerror or error).lower()
        raise StackpopError(explain(str(file), expected="a file to write", got=got, remedy="name another")) from error


def report_page(store: str) -> str:
    """The report as text; see `write_report`. All names in it are escaped."""
    with _other_process(store) as others:
        from stackpop.report.html import rendered

        return rendered(store, others)


@contextmanager
def _other_process(store: str) -> Iterator[Others]:
    """Have every other figure drawn meanwhile, if there is a second core."""
    if (os.cpu_count() or 1) < 2:
        yield list
        return
    command = [sys.executable, "-P", "-m", "stackpop.report", store]  # -P: a user's own numpy.py here is not meant
    with subprocess.Popen(  # noqa: S603 our own command; in a session of its own, for a Ctrl-C is ours
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:

        def drawn() -> list[dict[str, Any]]:
            told, _ = process.communicate()
            parts: list[dict[str, Any]] = json.loads(told) if told and not process.returncode else []
            return parts

        try:
            yield drawn
        finally:
            process.kill()
