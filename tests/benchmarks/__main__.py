"""`python -m tests.benchmarks`: how fast, as a table with bars.

Machines differ and have noisy neighbours, so training is measured in processor time, alternately with what it is
compared to, the cheapest of several; where the clock counts, the remark says so. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stackpop.devices import has_gpu
from tests.benchmarks.measure import calibrate
from tests.benchmarks.peer import Peer
from tests.benchmarks.rows import SHORT, Row, beside_peer, growth, on_gpu, quick, scaling, sweeping, trivially

PARTS = ("quick", "peer", "sweep", "trivial", "scale", "growth", "gpu")
MARGIN = 2.0  # of the bars in calibrations, which a busy machine must not break


def rows(part: str, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """One part of the table."""
    peer = Peer(*options.peer) if options.peer else None
    if part == "quick":
        yield from quick(folder, min(calibrate() for _ in range(3)))
    elif part == "peer":
        yield from beside_peer(peer, options.times)
    elif part == "sweep":
        yield from sweeping(folder, options.times, *(() if options.full else SHORT))
    elif part == "trivial":
        yield from trivially(folder, 100_000)
    elif part == "scale":
        yield from scaling(folder, runs=10_000, threads=1000, seconds=5.0, pack=1)
        yield from scaling(folder, runs=100_000, threads=1000, seconds=5.0, pack=16)
    elif part == "gpu":
        yield from on_gpu(peer)
    else:
        yield from growth()


def main() -> None:
    """Print the table; with --quick, fail if a bar is missed by far."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all by default, gpu where there is one")
    parser.add_argument("--quick", action="store_true", help="the part quick alone, under a minute, checked")
    parser.add_argument("--full", action="store_true", help="the sweeps with all 500 updates, not 25: takes an hour")
    parser.add_argument("--times", type=int, default=2, help="how often each is measured, 2 by default")
    parser.add_argument("--peer", nargs=2, metavar=("PYTHON", "SCRIPT"), help="another program to measure beside")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"parts: expected any of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load}, Python {platform.python_version()}\n")
    print("| work | measured | bar | met | remark |\n|---|---|---|---|---|", flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        for part in ["quick"] if options.quick else options.parts or PARTS[: None if has_gpu() else -1]:
            for row in rows(part, Path(name), options):
                print(row, flush=True)
                failed |= row.bar is not None and row.value > MARGIN * row.bar
    sys.exit(options.quick and failed)


if __name__ == "__main__":
    main()
