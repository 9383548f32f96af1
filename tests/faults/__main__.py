"""`python -m tests.faults --times 20`: kill the client, a worker and the scheduler that often, and say how it went."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
parser.add_argument("--times", type=int, default=20, help="kills of each kind of process [default: 20]")
os.environ["STACKPOP_FAULT_TIMES"] = str(parser.parse_args().times)
sys.exit(pytest.main([str(Path(__file__).parent), "--verbose", "--durations=5"]))
