"""Numbers beside the runs, as coordinates over swept dims: exact values of the games, and what trials try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.errors import StoreError, did_you_mean
from stackpop.store.arrays import Index, open_array
from stackpop.store.layout import Layout
from stackpop.store.location import Location
from stackpop.store.schema import Variable


class CoordinateWriter:
    """Some coordinates of one group, all over the same dims, NaN where unknown.

    An `index` is a position in the *sweep's* grid of those dims.
    """

    def __init__(
        self,
        place: Location,
        root: zarr.Group,
        layout: Layout,
        variables: Iterable[Variable],
        positions: tuple[NDArray[np.intp], ...],
    ) -> None:
        self._place = place
        self._positions = positions
        self._arrays = {variable.name: open_array(root, layout.path(variable.name)) for variable in variables}
        self._values: dict[str, NDArray[np.float64]] = {
            name: np.array(array[...], dtype=np.float64) for name, array in self._arrays.items()
        }
        self._dirty = False

    def missing(self) -> list[Index]:
        """Where no value is known."""
        unknown = np.all([np.isnan(values) for values in self._values.values()], axis=0)
        wanted = unknown[np.ix_(*self._positions)] if self._positions else unknown
        return [tuple(int(k) for k in index) for index in np.argwhere(wanted)]

    def known(self, index: Index) -> dict[str, float]:
        """What is known at an index, by name."""
        position = self._position(index)
        found = {name: float(values[position]) for name, values in self._values.items()}
        return {name: value for name, value in found.items() if not np.isnan(value)}

    def record(self, index: Index, values: Mapping[str, float]) -> None:
        """Take values, to be written at the next flush; a name that is left out stays unknown.

        Raises:
            StoreError: a name that the store does not know.
        """
        position = self._position(index)
        for name, value in values.items():
            if name not in self._values:
                raise StoreError(f"value {name}: {did_you_mean(name, self._values)}")
            self._values[name][position] = value
        self._dirty = True

    def flush(self) -> None:
        """Write what was recorded; raises StoreError if the disk fails, and can be called again."""
        if not self._dirty:
            return
        with self._place.faults():
            for name, array in self._arrays.items():
                array[...] = self._values[name]
        self._dirty = False

    def _position(self, index: Index) -> Index:
        return tuple(int(places[k]) for places, k in zip(self._positions, index, strict=True))
