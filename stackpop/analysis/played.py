"""The games that the runs of a results dataset played."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import xarray as xr

from stackpop.analysis.curves import need
from stackpop.errors import StackpopError, explain
from stackpop.games import MATRICES, Game, check_payoffs
from stackpop.spec import GameSettings

ORACLE = "follower_oracle"


@dataclass(frozen=True)
class Games:
    """The games that were played: by positions along `dims`, the swept dims that the game depends on.

    run_dims: all swept dims. oracles: the follower oracle of each run is that of its position along
    `follower_oracle`, or the only one.
    """

    dims: tuple[str, ...]
    run_dims: tuple[str, ...]
    of: Mapping[tuple[int, ...], Game]
    oracles: tuple[str, ...]

    def at(self, index: Sequence[int]) -> Game:
        """The game of the run at an index over the swept dims."""
        return self.of[tuple(k for dim, k in zip(self.run_dims, index, strict=True) if dim in self.dims)]

    def oracle(self, index: Sequence[int]) -> str:
        """The follower oracle of the run at an index."""
        place = dict(zip(self.run_dims, index, strict=True)).get(ORACLE, 0)
        return self.oracles[place]

    @cached_property
    def distinct(self) -> list[Game]:
        """Each game once."""
        return list(dict.fromkeys(self.of.values()))


def games_of(results: xr.Dataset) -> Games:
    """The games of results that a store gave, or of a part of them that kept its labels.

    Raises:
        StackpopError: the settings or the label of the matrix are gone.
    """
    need(results, ["status"])
    if "settings" not in results.attrs:
        remedy = "take it from `open_results`; arithmetic on a whole dataset drops them"
        raise StackpopError(explain("results", expected="the store's attributes", got="none", remedy=remedy))
    settings = json.loads(results.attrs["settings"])
    along, _ = run_dims(results)
    labels = {
        str(name): results.get_index(name).tolist() if values.ndim else [values.item()]
        for name, values in results.coords.items()
        if name in along or (not values.ndim and _shapes_runs(str(name)))
    }
    shaping = [name for name in labels if name != ORACLE and _shapes_runs(name)]
    if "matrix" not in shaping and "matrix" not in settings:
        remedy = "choose it with .sel(matrix=...) without drop=True, which keeps the label"
        raise StackpopError(explain("results", expected="labels of the matrix", got="none", remedy=remedy))
    dims = tuple(dim for dim in along if dim in shaping)
    fixed = {name: labels[name][0] for name in shaping if name not in dims}
    of = {
        index: _game(settings, {**fixed, **{d: labels[d][k] for d, k in zip(dims, index, strict=True)}})
        for index in product(*(range(len(labels[dim])) for dim in dims))
    }
    oracles = labels.get(ORACLE, [settings.get("follower.oracle", "contextual")])
    return Games(dims, along, of, tuple(map(str, oracles)))


def _game(settings: Mapping[str, Any], labels: Mapping[str, Any]) -> Game:
    """The game at some labels (dim -> value); no leader or follower makes a difference to it.

    Raises:
        StackpopError: the store lacks the matrix's payoffs.
    """
    known = {**settings, **{name.replace("_", ".", 1): label for name, label in labels.items() if name != "matrix"}}
    matrix = str(labels.get("matrix", settings.get("matrix")))
    payoffs = settings.get(f"payoffs.{matrix}", MATRICES.get(matrix))
    if payoffs is None:
        remedy = "open it with the version of stackpop that wrote it"
        raise StackpopError(explain("matrix", expected="a game of the store", got=repr(matrix), remedy=remedy))
    rules = {key: known[f"game.{key}"] for key in GameSettings.model_fields if f"game.{key}" in known}
    return Game(check_payoffs(payoffs), **rules)


def labels_of(results: xr.Dataset, dims: Iterable[str]) -> dict[str, xr.DataArray]:
    """The labels along some dims, and nothing else."""
    return {dim: results[dim].reset_coords(drop=True) for dim in dims}


def run_dims(results: xr.Dataset) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The swept dims and their sizes."""
    return tuple(map(str, results.status.dims)), results.status.shape


def _shapes_runs(name: str) -> bool:
    """Whether labels of that name tell which game was played, or against which oracle."""
    return name in ("matrix", ORACLE) or name.startswith("game_")
