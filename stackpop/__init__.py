"""Populations of Stackelberg leaders and followers, swept over Dask, beside their exact equilibria."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stackpop.equilibria import ground_truth
    from stackpop.errors import StackpopError
    from stackpop.games import Game
    from stackpop.spec import RunSpec, SweepSpec, load_sweep
    from stackpop.store import open_results
    from stackpop.sweep import run_sweep

_HOME = {
    "Game": "stackpop.games",
    "RunSpec": "stackpop.spec",
    "StackpopError": "stackpop.errors",
    "SweepSpec": "stackpop.spec",
    "ground_truth": "stackpop.equilibria",
    "load_sweep": "stackpop.spec",
    "open_results": "stackpop.store",
    "run_sweep": "stackpop.sweep",
}

__all__ = [
    "Game",
    "RunSpec",
    "StackpopError",
    "SweepSpec",
    "ground_truth",
    "load_sweep",
    "open_results",
    "run_sweep",
]


def __getattr__(name: str) -> object:
    """Public names are imported when first used, so that `stackpop --help` need not wait for torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'stackpop' has no attribute {name!r}")
