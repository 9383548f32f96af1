"""Arrays of a store: opened, and written and read run by run, a chunk at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError

Index = tuple[int, ...]
Array = zarr.Array[Any]

# Workers train packs that lie side by side in the grid, so the next runs are mostly in the chunks of the last ones.
_MOST_KEPT, _MOST_KEPT_BYTES = 4, 2**22  # of one variable; a store has some forty


def open_array(root: zarr.Group, path: str) -> Array:
    """The array at `path`, which the store is known to hold."""
    array = root[path]
    if not isinstance(array, zarr.Array):
        raise StoreError(f"store: expected an array at {path}, got a group; name another --store")
    return array


class RunArray:
    """One variable of all runs of a group, [*swept dims, *inner dims].

    A `position` is that of a run in the store, over the swept dims. Chunks are whole along the inner dims for what is
    said here. The last ones stay in memory, so nobody else may write to the array meanwhile.
    """

    def __init__(self, array: Array, dims: int, fill: object) -> None:
        """dims: how many of the array's dims are swept; fill: the value of what a run does not have."""
        self._array, self._dims, self._fill = array, dims, fill
        self._kept: dict[Index, NDArray[Any]] = {}  # by corner, the last one used at the end

    @property
    def room(self) -> Index:
        """The most that one run can have along each inner dim."""
        return tuple(self._array.shape[self._dims :])

    def read(self, position: Index) -> NDArray[Any]:
        """The values of one run, padded with the fill value."""
        sizes = self._array.chunks[: self._dims]
        corner = tuple(k // size for k, size in zip(position, sizes, strict=True))
        place = tuple(k % size for k, size in zip(position, sizes, strict=True))
        return np.array(self._block(corner)[place])

    def write(self, positions: NDArray[np.intp], values: Sequence[Any]) -> None:
        """Write one value (array, scalar, or None for nothing) a run; each chunk is written once.

        positions: [run, dim].
        """
        if 0 in self._array.shape:
            return
        corners, places = np.divmod(positions, np.array(self._array.chunks[: self._dims], dtype=np.intp))
        chunks: dict[Index, list[int]] = defaultdict(list)
        for run, corner in enumerate(map(tuple, corners.tolist())):
            chunks[corner].append(run)
        for corner, runs in chunks.items():
            block = self._block(corner)
            try:
                self._fill_in(block, places[runs], [values[run] for run in runs])
                self._array[self._region(corner)] = block
            except BaseException:
                self._kept.pop(corner, None)  # what the store holds now, only reading tells
                raise
        self._shed(0)

    def _fill_in(self, block: NDArray[Any], places: NDArray[np.intp], values: Sequence[Any]) -> None:
        """Set the values of some runs of one chunk; places: [run, dim], within it."""
        block[tuple(places.T)] = self._fill
        same: dict[Index, list[int]] = defaultdict(list)  # runs whose values have one shape
        for run, value in enumerate(values):
            if value is not None:
                same[np.shape(value)].append(run)
        # What float32 cannot hold becomes infinite here. To refuse such a run is training's part, not the store's.
        with np.errstate(over="ignore"):
            for shape, members in same.items():
                stack = np.array([values[run] for run in members], dtype=block.dtype)
                inside = (*places[members].T, *map(slice, shape))
                block[inside] = stack if self._dims else stack[0]  # without swept dims there is one run

    def _block(self, corner: Index) -> NDArray[Any]:
        """A chunk's values, to be changed in place and written."""
        block = self._kept.pop(corner, None)
        if block is None:
            block = np.array(self._array[self._region(corner)], dtype=self._array.dtype)  # of one value, Zarr's is one
        self._kept[corner] = block
        self._shed(1)
        return block

    def _shed(self, least: int) -> None:
        """Forget chunks, the one used longest ago first, until those in memory are few and small, or `least`."""
        while len(self._kept) > least and (
            len(self._kept) > _MOST_KEPT or sum(kept.nbytes for kept in self._kept.values()) > _MOST_KEPT_BYTES
        ):
            del self._kept[next(iter(self._kept))]

    def _region(self, corner: Index) -> Any:
        """The selection of one chunk of runs, whole along the inner dims."""
        sizes = self._array.chunks[: self._dims]
        return (*(slice(k * size, (k + 1) * size) for k, size in zip(corner, sizes, strict=True)), ...)
