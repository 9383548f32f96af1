"""The runs of a store as an experiment tracker wants them: an id, settings, a history, a summary."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stackpop.spec import RunSpec, stored_run
from stackpop.store import Status, open_results

if TYPE_CHECKING:
    import xarray as xr

POST = "post_"  # how the store's names of what came after training begin
NOTHING_YET = -1  # of a count, in the store

Values = dict[str, float]


@dataclass(frozen=True)
class RunKey:
    """Which run this is and how it ended, known without its arrays.

    id: the hash of the run's settings, then that of the store; it never changes. status: done or failed. started,
    finished: unix seconds, 0 where unknown.
    """

    id: str
    name: str
    sweep: str
    status: str
    started: float
    finished: float


@dataclass(frozen=True)
class TrackedRun:
    """A run that has ended.

    settings: nested, as in a sweep file. curves, post: name -> values [iteration], [post_iteration], NaN where none
    was made. exact: the exact values of its game. facts: how it went: its status, error, seconds, attempts, worker.
    """

    key: RunKey
    settings: Mapping[str, Any]
    curves: Mapping[str, NDArray[np.float64]]
    post: Mapping[str, NDArray[np.float64]]
    exact: Mapping[str, float]
    facts: Mapping[str, str | float]

    def history(self) -> list[tuple[int, Values]]:
        """Step and values of each training iteration that was made; steps count from 1."""
        return _rows(self.curves)

    def post_history(self) -> list[tuple[int, Values]]:
        """The same of the updates after training, under names without `post_`."""
        return _rows(self.post)

    def flat_settings(self) -> dict[str, str | float]:
        """Dotted name -> value; what is neither a number nor a word as JSON."""
        return dict(_flat("", self.settings))


def ended_runs(store: str | os.PathLike[str], wanted: Callable[[RunKey], bool]) -> Iterator[TrackedRun]:
    """The wanted ones among the runs of a store that are done or failed, in the order of its grid.

    Safe while another process writes: statuses are read before arrays, and a run that says done is complete. Of the
    arrays, one block of the store is in memory at a time.

    Raises:
        StoreError, SpecError: not a store that this version can read.
    """
    results = open_results(store)
    results.status.load()
    reader = _Reader(results)
    for block in reader.blocks():
        keys = {at: key for at in reader.ended(block) if wanted(key := reader.key(at))}
        if keys:
            part = reader.load(block)
            for at, key in keys.items():
                yield reader.run(at, key, part, block)


class _Reader:
    """One look at a store: runs by their position in its grid."""

    def __init__(self, results: xr.Dataset) -> None:
        self._results = results
        self._dims = [str(dim) for dim in results.status.dims]
        self._settings = json.loads(results.attrs["settings"])
        self._labels = {dim: results[dim].values.tolist() for dim in self._dims}
        self._ends = {name: _unix_seconds(results[name].values) for name in ("started", "finished")}
        self._store_id = store_id(results.attrs)
        self._curves = _names(results, self._dims, "iteration")
        self._post = _names(results, self._dims, "post_iteration")
        self._facts = ["error", "worker", "wall_seconds", "attempts"]
        self._exact = {
            str(name): values.load()
            for name, values in results.coords.items()
            if name not in results.dims and values.dtype.kind == "f"
        }

    def blocks(self) -> Iterator[tuple[slice, ...]]:
        """The grid in parts that each lie in the same files."""
        sizes = self._results.leader_return.chunks[: len(self._dims)]
        for edges in itertools.product(*(itertools.pairwise([0, *itertools.accumulate(part)]) for part in sizes)):
            yield tuple(slice(*edge) for edge in edges)

    def ended(self, block: tuple[slice, ...]) -> list[tuple[int, ...]]:
        """Positions of the runs of a block that are done or failed."""
        status = self._results.status.values[block]
        inside = np.argwhere(np.isin(status, [Status.DONE, Status.FAILED]))
        return [tuple(int(k) + part.start for k, part in zip(at, block, strict=True)) for at in inside]

    def key(self, at: tuple[int, ...]) -> RunKey:
        """Which run is at a position."""
        spec = self._spec(at)
        return RunKey(
            id=f"{spec.run_id}-{self._store_id}",
            name=spec.label,
            sweep=str(self._results.attrs["name"]),
            status=Status(self._results.status.values[at]).name.lower(),
            started=float(self._ends["started"][at]),
            finished=float(self._ends["finished"][at]),
        )

    def _spec(self, at: tuple[int, ...]) -> RunSpec:
        return stored_run(self._settings, {dim: self._labels[dim][k] for dim, k in zip(self._dims, at, strict=True)})

    def load(self, block: tuple[slice, ...]) -> xr.Dataset:
        """What is tracked of a block."""
        part = self._results[[*self._curves, *self._post, *self._facts]]
        return part.isel(dict(zip(self._dims, block, strict=True))).load()

    def run(self, at: tuple[int, ...], key: RunKey, part: xr.Dataset, block: tuple[slice, ...]) -> TrackedRun:
        """The run at a position, from its loaded block."""
        inside = tuple(k - where.start for k, where in zip(at, block, strict=True))
        position = dict(zip(self._dims, at, strict=True))
        exact = {name: float(v.isel({d: position[str(d)] for d in v.dims})) for name, v in self._exact.items()}
        return TrackedRun(
            key,
            self._spec(at).model_dump(mode="json"),
            curves={name: _curve(part[name].values[inside]) for name in self._curves},
            post={name.removeprefix(POST): _curve(part[name].values[inside]) for name in self._post},
            exact={name: value for name, value in exact.items() if np.isfinite(value)},
            facts={"status": key.status, **{name: _plain(part[name].values[inside]) for name in self._facts}},
        )


def store_id(attributes: Mapping[str, Any]) -> str:
    """Eight hex digits that stay when a store is extended, copied or moved, and that no other store has."""
    made = attributes.get("store_id") or f"{attributes['name']} {attributes['created_at']}"
    return sha256(str(made).encode()).hexdigest()[:8]


def _names(results: xr.Dataset, dims: list[str], along: str) -> list[str]:
    """The variables of one number a run and step."""
    return [str(name) for name, values in results.data_vars.items() if values.dims == (*dims, along)]


def _unix_seconds(times: NDArray[Any]) -> NDArray[np.float64]:
    seconds = times.astype("datetime64[s]").astype(np.int64).astype(np.float64)
    return np.where(np.isnat(times), 0.0, seconds)


def _curve(values: NDArray[Any]) -> NDArray[np.float64]:
    """Counts have no NaN in the store."""
    curve = values.astype(np.float64)
    return np.where(curve == NOTHING_YET, np.nan, curve) if values.dtype.kind == "i" else curve


def _rows(curves: Mapping[str, NDArray[np.float64]]) -> list[tuple[int, Values]]:
    length = max((len(curve) for curve in curves.values()), default=0)
    rows = ({name: float(c[k]) for name, c in curves.items() if not np.isnan(c[k])} for k in range(length))
    return [(step, row) for step, row in enumerate(rows, start=1) if row]


def _plain(value: Any) -> str | float:
    return value if isinstance(value, str) else float(value)


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str | float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float) else json.dumps(value)
