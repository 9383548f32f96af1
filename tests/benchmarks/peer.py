"""Another program of the same protocol, measured beside ours: any script that takes and prints what this one asks for.

`PYTHON SCRIPT --runs N --variant suff|onehot --repeat K` trains N runs (500 follower updates, 500 leader updates of
1,005 environment steps and 30 epochs, 50 more follower updates, all evaluated) K times after one compilation, and
prints JSON whose `run_cpu_s` has the processor seconds of each time, `import_s` the seconds of its imports and
`train_env_steps_per_s` the environment steps that it trains on in a second by the clock; with `--gpu`, on a GPU.
`onehot` clips the value loss as published; `suff` leaves it whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import CORES, program

REPEATS = 3


@dataclass(frozen=True)
class PeerCost:
    """Processor seconds: once it is compiled; with tracing and compilation; with imports and all."""

    steady: float
    compiled: float
    started: float


class Peer:
    """The script and the Python that has its packages."""

    def __init__(self, python: str, script: str) -> None:
        self._python, self._script = python, Path(script).resolve()

    def cost(self, runs: int, variant: str) -> PeerCost:
        """What one call costs, on one core."""
        options = ["--runs", str(runs), "--variant", variant, "--repeat", str(REPEATS)]
        found = program([self._python, str(self._script), *options], core=CORES[-1], cwd=str(self._script.parent))
        times = found.told["run_cpu_s"]
        steady, rest = min(times), found.cpu - sum(times)
        return PeerCost(steady, rest - found.told["import_s"] + steady, rest + steady)

    def steps_a_second(self, runs: int, device: str) -> float:
        """Environment steps it trains on in a second by the clock, once it is compiled."""
        options = ["--runs", str(runs), "--variant", "suff", "--repeat", str(REPEATS)]
        options += ["--gpu"] if device == "cuda" else []
        found = program([self._python, str(self._script), *options], cwd=str(self._script.parent))
        return float(found.told["train_env_steps_per_s"])
