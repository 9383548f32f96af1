"""`python -m tests.faults --times 20`: do to real sweeps each of what can happen that often, and print how they fared.

`--only TEXT` chooses faults by a part of their names, as pytest's `-k` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest

OUTCOMES = ("passed", "failed", "skipped")


class Table:
    """Counts outcomes by fault, whatever number of which time."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(OUTCOMES, 0))
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = _fault(report.nodeid)
        self._seconds[name] += report.duration if report.when == "call" else 0
        if report.when == "call" or report.outcome != "passed":
            self._counts[name][report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        width = max(map(len, self._counts), default=0)
        terminalreporter.line("")
        terminalreporter.line(f"{'fault':{width}}  {'  '.join(OUTCOMES)}  seconds each")
        for name, counts in self._counts.items():
            cells = "  ".join(f"{counts[outcome]:{len(outcome)}}" for outcome in OUTCOMES)
            terminalreporter.line(f"{name:{width}}  {cells}  {self._seconds[name] / max(1, sum(counts.values())):.0f}")


def _fault(test: str) -> str:
    """`folder/file.py::test_worker_is_killed[a-3]` without the number of the time: `worker is killed (a)`."""
    name, _, parameters = test.rpartition("::")[2].removeprefix("test_").partition("[")
    kept = [part for part in parameters.rstrip("]").split("-") if part and not part.isdecimal()]
    return name.replace("_", " ") + (f" ({', '.join(kept)})" if kept else "")


parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
parser.add_argument("--times", type=int, default=20, help="how often each fault is tried [default: 20]")
parser.add_argument("--only", default="", help="a part of the names of the faults to try")
given = parser.parse_args()
os.environ["STACKPOP_FAULT_TIMES"] = str(given.times)
folder = str(Path(__file__).parent)
sys.exit(pytest.main([folder, "--timeout=900", "--quiet", "-k", given.only], plugins=[Table()]))
