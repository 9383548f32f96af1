"""The settings of a results dataset, one panel or row each, and what is said when there is nothing to draw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from stackpop.errors import StackpopError, explain
from stackpop.store import Status

SEED = "seed"
MOST_PANELS = 24  # of a figure
UPDATES_DRAWN = 60  # along the updates, evenly on their log scale: leaders learn most of what they learn early


@dataclass(frozen=True)
class Setting:
    """A combination of labels of the swept dims without `seed`: positions, its words, and the game that it plays."""

    at: Mapping[str, int]
    words: tuple[str, ...]
    game: str

    @property
    def title(self) -> str:
        """Its words, or those for a sweep without axes."""
        return ", ".join(self.words) or self.game


def setting_dims(results: xr.Dataset) -> list[str]:
    """The swept dims without `seed`."""
    return [str(dim) for dim in results.status.dims if dim != SEED]


def settings_of(results: xr.Dataset, dims: Sequence[str] | None = None, most: int = MOST_PANELS) -> list[Setting]:
    """All settings, in the order of the dataset.

    Raises:
        StackpopError: more than `most`.
    """
    dims = setting_dims(results) if dims is None else list(dims)
    sizes = [results.sizes[dim] for dim in dims]
    if (count := int(np.prod(sizes))) > most:
        got = " × ".join(f"{size:,} {dim}" for dim, size in zip(dims, sizes, strict=True))
        remedy = "choose some with `--where AXIS=VALUE`, or with `stackpop.analysis.select`"
        raise StackpopError(
            explain("results", expected=f"at most {most} settings to draw", got=got or count, remedy=remedy)
        )
    labels = {dim: results.get_index(dim).tolist() for dim in dims}
    alone = game_of(results)
    found = []
    for places in product(*map(range, sizes)):
        at = dict(zip(dims, places, strict=True))
        words = tuple(word(dim, labels[dim][k]) for dim, k in at.items())
        found.append(Setting(at, words, str(labels["matrix"][at["matrix"]]) if "matrix" in at else alone))
    return found


def game_of(results: xr.Dataset) -> str:
    """The game of results that play one only."""
    if "matrix" in results.coords and not results.matrix.ndim:
        return str(results.matrix.item())
    return str(json.loads(results.attrs.get("settings", "{}")).get("matrix", "game"))


def word(dim: str, label: object) -> str:
    """A label as a title has it; a bare number or truth value would not say of what."""
    return label if isinstance(label, str) else f"{dim.replace('_', '.', 1)}={label}"


def whole(results: xr.Dataset, *names: str) -> xr.Dataset:
    """Results that have some variables, along a dim `seed`, and a run that is done.

    Raises:
        StackpopError: a variable is missing, or no run is done.
    """
    for name in ("status", *names):
        if name not in results:
            remedy = "pass the whole dataset of `open_results`, or a part of it by .sel or .isel"
            raise StackpopError(explain("results", expected=f"the variable {name!r}", got="none", remedy=remedy))
    check_done(results)
    return results if SEED in results.status.dims else results.expand_dims(SEED)


def check_done(results: xr.Dataset) -> None:
    """Refuse results of which no run is done.

    Raises:
        StackpopError: there is none.
    """
    if not (results.status == Status.DONE).any():
        remedy = "`stackpop status STORE` tells how far the runs are"
        raise StackpopError(explain("results", expected="a run that is done", got="none", remedy=remedy))


def nothing(what: str, why: str, remedy: str) -> StackpopError:
    """The one sentence for results that hold nothing of a figure."""
    return StackpopError(explain("results", expected=what, got=why, remedy=remedy))


def drawn_updates(updates: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions along the updates that are drawn, the first and the last among them."""
    return np.unique(np.geomspace(1, max(updates, 1), UPDATES_DRAWN).round().astype(int)) - 1


def counted(title: str, present: int, runs: int) -> str:
    """A panel's title, which says so if runs are missing."""
    return title if present == runs else f"{title} ({present:,} of {runs:,} runs)"
