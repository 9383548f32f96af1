"""`python -m tests.benchmarks [--quick]`: how fast, as a table with a ratio to a calibration of the same minute.

Machines differ and have noisy neighbours, so no test asserts these seconds. The calibration is a fixed
amount of the kind of work that training does: small tensor operations on one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SWEEPS = ROOT / "sweeps"
CALIBRATION_ROUNDS = 50_000


@dataclass(frozen=True)
class Measurement:
    """One row: what, how long, in multiples of the calibration, the bar (seconds on two quiet cores), and a remark."""

    name: str
    seconds: float
    calibration: float
    bar: float
    remark: str = ""

    def __str__(self) -> str:
        ratio = self.seconds / self.calibration
        return f"| {self.name} | {self.seconds:.2f} | {ratio:.2f} | {self.bar:g} | {self.remark} |"


def calibrate() -> float:
    """Seconds of a fixed number of small tensor operations."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.full((600,), 0.5, dtype=torch.float64), torch.full((600,), 1e-6, dtype=torch.float64)
    started = time.perf_counter()
    for _ in range(CALIBRATION_ROUNDS):
        torch.exp(x, out=x).mul_(y).sub_(y).abs_()
    return time.perf_counter() - started


def train(runs: int) -> float:
    """Seconds to train runs of allmatrices in one process, followers included, all runs in one pack."""
    from stackpop.spec import load_sweep
    from stackpop.training import train_followers, train_leaders

    seeds = ",".join(map(str, range(1, 1 + max(1, runs // 12))))
    spec = load_sweep(SWEEPS / "allmatrices.yaml", [f"axes.seed=[{seeds}]"])
    specs = [spec.run(index) for index in spec.indices()][:runs]
    followers = [follower for one in specs if (follower := one.follower_spec()) is not None]
    started = time.perf_counter()
    trained = train_followers(followers)
    logits = {f.follower_id: r.arrays["follower_logits"] for f, r in zip(followers, trained, strict=True)}
    results = train_leaders(specs, logits)
    seconds = time.perf_counter() - started
    errors = [result.error for result in results if result.error]
    if errors:
        raise RuntimeError(errors[0])
    return seconds


def command(*arguments: str) -> float:
    """Seconds of a stackpop command, from pressing return to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "stackpop", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def best_of(times: int, measure: Callable[[], float]) -> float:
    """The least of several, which a noisy neighbour disturbs least."""
    return min(measure() for _ in range(times))


def many_runs(folder: Path) -> Path:
    """A sweep file of 100,800 runs."""
    text = (SWEEPS / "allmatrices.yaml").read_text()
    seeds = ", ".join(map(str, range(1, 841)))
    rates = ", ".join(f"{0.001 * k:g}" for k in range(1, 11))
    file = folder / "many.yaml"
    file.write_text(
        text.replace("seed: [1, 2, 3, 4, 5]", f"seed: [{seeds}]\n  leader.lr: [{rates}]").replace("  lr: 0.008\n", "")
    )
    return file


def measure(quick: bool) -> Iterator[Measurement]:
    """The rows of the table, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # First, while this process is small: a child's peak counts what its parent held when it was started.
        dry_run = command("sweep", str(many_runs(folder)), "--dry-run", "--store", str(folder / "dry.zarr"))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
        calibration = best_of(3, calibrate)
        yield Measurement("stackpop --help", best_of(5, lambda: command("--help")), calibration, 0.3)
        yield Measurement("--dry-run of 100,800 runs", dry_run, calibration, 5, f"{peak:.0f} MB, bar 500 MB")
        train(1)  # imports and first calls
        yield Measurement("one run alone, in process", best_of(3, lambda: train(1)), calibration, 2.5, "one core")
        yield Measurement("60 runs in one pack, in process", train(60), calibration, 25, "one core")
        if not quick:
            yield Measurement("600 runs in one pack, in process", train(600), calibration, 250, "one core")
        matrices = str(SWEEPS / "allmatrices.yaml")
        packed = command("sweep", matrices, "--runs-per-task=auto", f"--store={folder}/a.zarr")
        yield Measurement("sweep allmatrices, packed", packed, calibration, 25, "from return to the table")
        if not quick:
            single = command("sweep", matrices, f"--store={folder}/b.zarr")
            yield Measurement("sweep allmatrices, one run a task", single, calibration, 90, "from return to the table")
        short = command("sweep", str(SWEEPS / "quick.yaml"), f"--store={folder}/c.zarr")
        yield Measurement("sweep quick", short, calibration, 20, "from return to the table")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes more than half a minute")
    quick = parser.parse_args().quick
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("| work | seconds | in calibrations | bar (s) | remark |\n|---|---|---|---|---|", flush=True)
    for row in measure(quick):
        print(row, flush=True)


if __name__ == "__main__":
    main()
