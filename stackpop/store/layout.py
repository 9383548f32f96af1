"""From a sweep to the arrays of a store: merged labels, sizes, chunks, and the Zarr documents that declare them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError, explain
from stackpop.store.schema import INNER_DIMS, RUN_VARIABLES, SEED, STATUS, TRIAL, Variable

Document = dict[str, Any]  # the content of one zarr.json
Scalar = str | int | float | bool | None
Labels = NDArray[Any]  # 1-D, of bool, int64, float64 or variable-length strings

RUNS_A_CHUNK = 1024  # of the variables with one value a run
# Runs of one seed draw the same numbers, a pack once for all of them: 128 runs of so many seeds, or of up to 32, train
# in a seventh less time than 128 seeds of one game. Fewer gain nothing more, and spread a game over more chunks.
SEEDS_A_BLOCK = 16
CURVES_A_BLOCK = 64  # runs a chunk, of curves as long as a chunk and of variables with other inner dims
_CURVE_LENGTH = 512  # iterations a chunk, of curves that are that long or longer
# Shorter curves share a chunk with more runs: 100,000 runs of two updates would otherwise be 1,600 files a variable.
_LEAST_CURVE_LENGTH = 32
# Chunks stay as they are when a store is extended, so they leave room for the usual games and numbers of updates from
# the start: room that is never used compresses to next to nothing.
_LEAST_LENGTH = {"state": 8, "action": 4, "context": 32, "follower_state": 8, "follower_action": 4}
_LABELS_A_CHUNK = 4096


class Sweep(Protocol):
    """What the store needs to know of a sweep (`stackpop.spec.SweepSpec`)."""

    @property
    def name(self) -> str:
        """File and task name of the sweep."""

    @property
    def text(self) -> str:
        """The sweep as YAML."""

    @property
    def dims(self) -> tuple[str, ...]:
        """The swept dims, in order."""

    @property
    def labels(self) -> Mapping[str, tuple[Any, ...]]:
        """Dim -> its values."""

    @property
    def follower_dims(self) -> tuple[str, ...]:
        """Those of `dims` that a follower training depends on."""

    @property
    def game_dims(self) -> tuple[str, ...]:
        """Those of `dims` that the game depends on."""

    @property
    def searched(self) -> tuple[str, ...]:
        """The searched settings, named like dims; they vary along the dim `trial`."""

    @property
    def fixed(self) -> Mapping[str, Any]:
        """Setting -> value (as in JSON) of all that is not swept."""

    @property
    def leader_sizes(self) -> Mapping[str, int]:
        """Sizes of iteration, post_iteration, state, action of the leader runs."""

    @property
    def follower_sizes(self) -> Mapping[str, int]:
        """Sizes of iteration, context, state, action, parameter of the follower trainings; iteration 0 for none."""


@dataclass(frozen=True)
class Layout:
    """One group of the store: its swept dims with their labels, its inner dims with their sizes, its variables."""

    group: str  # "" for the root
    run_dims: tuple[str, ...]
    labels: Mapping[str, Labels]
    sizes: Mapping[str, int]
    variables: tuple[Variable, ...]
    game_dims: tuple[str, ...] = ()
    ground_truth: tuple[Variable, ...] = ()
    searched: tuple[Variable, ...] = ()

    def path(self, name: str) -> str:
        """The path of an array of this group inside the store."""
        return f"{self.group}/{name}" if self.group else name


# --- labels ---------------------------------------------------------------------------------------------------------


def label_array(labels: Sequence[Scalar]) -> Labels:
    """Labels of one axis as one type: all truth values, all whole numbers, all numbers, or else text."""
    kinds = {type(label) for label in labels}
    if kinds == {bool}:
        return np.array(labels, dtype=np.bool_)
    if kinds == {int}:
        return np.array(labels, dtype=np.int64)
    if kinds <= {int, float}:
        return np.array(labels, dtype=np.float64)
    texts = [label if isinstance(label, str) else json.dumps(label) for label in labels]
    return np.array(texts, dtype=np.dtypes.StringDType())


def merge_labels(dim: str, stored: Labels | None, wanted: Sequence[Scalar]) -> tuple[Labels, NDArray[np.intp]]:
    """The stored labels with the new ones appended, and the position of each wanted label among them.

    Raises:
        StoreError: the new labels are of another type than the stored ones.
    """
    new = label_array(wanted)
    if stored is None:
        return new, np.arange(len(new), dtype=np.intp)
    if stored.dtype == np.float64 and new.dtype == np.int64:
        new = new.astype(np.float64)
    if stored.dtype.kind != new.dtype.kind:
        expected = f"labels like the stored ones ({_some(stored)})"
        remedy = "write them the same way, or name another --store"
        raise StoreError(explain(f"axis {dim}", expected=expected, got=_some(new), remedy=remedy))
    place = {label: k for k, label in enumerate(stored.tolist())}
    for label in new.tolist():
        place.setdefault(label, len(place))
    positions = np.array([place[label] for label in new.tolist()], dtype=np.intp)
    return np.array(list(place), dtype=stored.dtype), positions


def _some(labels: Labels, most: int = 3) -> str:
    shown = ", ".join(repr(label) for label in labels[:most].tolist())
    return f"{shown}, …" if len(labels) > most else shown


# --- chunks ---------------------------------------------------------------------------------------------------------


def power_of_two(size: int) -> int:
    """The least power of two that is at least `size` (1 for 0)."""
    return 1 << max(size - 1, 0).bit_length()


def block_shape(sizes: Mapping[str, int], runs: int) -> tuple[int, ...]:
    """A chunk of about `runs` runs over the swept dims, given by their sizes.

    Some seeds and then the last dims fill first, as runs finish about in that order. What is left goes to the seeds, or
    to the last dim, so that an axis that is short today does not make for tiny chunks once it is extended.
    """
    shape, left = dict.fromkeys(sizes, 1), runs
    order = [dim for dim in sizes if dim == SEED] + [dim for dim in reversed(list(sizes)) if dim != SEED]
    for dim in order:
        most = SEEDS_A_BLOCK if dim == SEED else left
        shape[dim] = min(left, most, power_of_two(sizes[dim]))
        left //= shape[dim]
    if order:
        shape[order[0]] *= left
    return tuple(shape.values())


def chunk_length(dim: str, size: int) -> int:
    """The extent of a chunk along an inner dim of some size: up to 512 iterations, all of any other dim."""
    if dim in _LEAST_LENGTH:
        return max(_LEAST_LENGTH[dim], power_of_two(size))
    return min(max(_LEAST_CURVE_LENGTH, power_of_two(size)), _CURVE_LENGTH)


def curves_a_chunk(dims: Sequence[str], lengths: Sequence[int]) -> int:
    """Runs a chunk, of a variable with these inner dims: the shorter its curves, the more."""
    return CURVES_A_BLOCK * math.prod(
        _CURVE_LENGTH // length for dim, length in zip(dims, lengths, strict=True) if dim not in _LEAST_LENGTH
    )


# --- documents ------------------------------------------------------------------------------------------------------


def array_documents(layout: Layout) -> dict[str, Document]:
    """The zarr.json of every array of a group, by its path in the store."""
    sizes = {dim: len(layout.labels[dim]) for dim in layout.run_dims}
    runs, singles = tuple(sizes.values()), block_shape(sizes, RUNS_A_CHUNK)
    # Texts are coordinates as well, so that arithmetic and `where` on a whole dataset leave them alone.
    texts = tuple(v for v in RUN_VARIABLES if v.dtype == "string")
    beside = {"coordinates": " ".join(v.name for v in layout.ground_truth + layout.searched + texts)}
    documents = {}
    for variable in layout.variables + RUN_VARIABLES + (STATUS,):
        note = {} if variable in texts else beside
        inner = tuple(layout.sizes[dim] for dim in variable.dims)
        lengths = tuple(map(chunk_length, variable.dims, inner))
        chunks = (block_shape(sizes, curves_a_chunk(variable.dims, lengths)) if variable.dims else singles) + lengths
        documents[layout.path(variable.name)] = _document(
            variable, layout.run_dims + variable.dims, runs + inner, chunks, note
        )
    games = {dim: len(layout.labels[dim]) for dim in layout.game_dims}
    for variable in layout.ground_truth:
        shape, chunks = tuple(games.values()), block_shape(games, RUNS_A_CHUNK)
        documents[layout.path(variable.name)] = _document(variable, layout.game_dims, shape, chunks, {})
    for variable in layout.searched:
        trials = (len(layout.labels[TRIAL]),)
        documents[layout.path(variable.name)] = _document(variable, (TRIAL,), trials, (_LABELS_A_CHUNK,), {})
    for dim, values in coordinates(layout).items():
        variable = _coordinate(dim, values)
        documents[layout.path(dim)] = _document(variable, (dim,), values.shape, (_LABELS_A_CHUNK,), {})
    return documents


def coordinates(layout: Layout) -> dict[str, Labels]:
    """The labels of every dim of a group, swept and inner."""
    inner = {dim: np.arange(size, dtype=np.int64) + INNER_DIMS[dim][0] for dim, size in layout.sizes.items()}
    return {**{dim: layout.labels[dim] for dim in layout.run_dims}, **inner}


def _coordinate(dim: str, values: Labels) -> Variable:
    swept = "Candidate of the search, in the order of asking." if dim == TRIAL else "Swept axis."
    _, long_name, description = INNER_DIMS.get(dim, (0, dim.replace("_", " "), swept))
    dtype = "string" if values.dtype.kind == "T" else str(values.dtype)
    fill: str | int = "" if dtype == "string" else 0
    return Variable(dim, (), "1", long_name, description, dtype, fill)


def _document(
    variable: Variable,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    note: Mapping[str, str],
) -> Document:
    attributes = {
        "long_name": variable.long_name,
        "units": variable.units,
        "description": variable.description,
        **variable.attrs,
        **note,
    }
    blank = _blank_document(variable.dtype, variable.fill, chunks)
    return {**blank, "shape": list(shape), "dimension_names": list(dims), "attributes": attributes}


@lru_cache
def _blank_document(dtype: str, fill: float | str, chunks: tuple[int, ...]) -> Document:
    """Zarr's own declaration of an array; many variables share one but for names, sizes and attributes."""
    memory = zarr.storage.MemoryStore()
    array = zarr.create_array(memory, shape=chunks, chunks=chunks, dtype=dtype, fill_value=fill)
    document: Document = json.loads(json.dumps(array.metadata.to_dict()))
    return document
