"""One-step Q-learning (Watkins, 1989) on many tables side by side.

Steps have to follow one another, so a step is a few NumPy operations over all tables; for these, of some
hundred numbers each, NumPy needs half the time of torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class QTables:
    """Q-tables, one a lane, in one array of rows [place, column]; the place of a state is lane · states + state.

    Rows are changed by `learn` alone. Its buffers are made once: what `greedy` returns is good until the next call.
    """

    def __init__(self, tables: Floats, alpha: float, gamma: float) -> None:
        """Start from a copy of tables [lane, state, column]."""
        lanes, _, columns = tables.shape
        self.rows = tables.reshape(-1, columns).copy()
        self._entries = self.rows.reshape(-1)
        self._alpha, self._gamma, self._columns = alpha, gamma, columns
        self._row, self._noise = np.empty((2, lanes, columns))
        self._target, self._old = np.empty((2, lanes))
        self._action, self._entry = np.zeros((2, lanes), dtype=np.int64)
        self._better = np.empty(lanes, dtype=np.bool_)

    def greedy(self, places: Integers, noise: Floats | None) -> Integers:
        """Best actions [lane] at places [lane], of equals the first; noise [place, column] adds to the table."""
        row, action = self.rows.take(places, axis=0, out=self._row, mode="clip"), self._action
        if noise is not None:
            np.add(row, noise.take(places, axis=0, out=self._noise, mode="clip"), out=row)
        best = row[:, 0]
        if self._columns > 1:
            np.greater(row[:, 1], best, out=action)
        for column in range(2, self._columns):
            np.maximum(best, row[:, column - 1], out=best)
            np.copyto(action, column, where=np.greater(row[:, column], best, out=self._better))
        return action

    def learn(self, places: Integers, actions: Integers, rewards: Floats, then: Integers | None) -> None:
        """q += alpha · (reward + gamma · max q' - q), with q' at the places `then`, or none where a game ends.

        All arguments: [lane].
        """
        target, entry, old = rewards, self._entry, self._old
        if then is not None:
            target = np.multiply(self._best_value(then), self._gamma, out=self._target)
            np.add(rewards, target, out=target)
        np.multiply(places, self._columns, out=entry)
        np.add(entry, actions, out=entry)
        self._entries.take(entry, out=old, mode="clip")
        np.subtract(target, old, out=self._target)
        np.multiply(self._target, self._alpha, out=self._target)
        self._entries[entry] = np.add(old, self._target, out=old)

    def _best_value(self, places: Integers) -> Floats:
        row = self.rows.take(places, axis=0, out=self._row, mode="clip")
        best: Floats = row[:, 0]
        for column in range(1, self._columns):
            best = np.maximum(best, row[:, column], out=self._target)
        return best
