"""What the client of a sweep tells the scheduler's page about it, once a second."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from stackpop.cluster.board import COLOURS, TOPIC
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec
from stackpop.store import Status
from stackpop.sweep.plan import Index
from stackpop.sweep.progress import Progress

MOST_ROWS, MOST_COLUMNS = (
    60,
    400,
)  # of cells; where there are more games, or more runs of each, some share a row or cell
_URGENCY = np.array([list(COLOURS).index(status.name.lower()) for status in Status], dtype=np.uint8)  # by status


class Board:
    """Gathers what a sweep's runs come to, game by game, and tells the scheduler.

    Gaps are those of the runs that were finished since the sweep was started or resumed.
    """

    def __init__(self, client: Client, spec: SweepSpec) -> None:
        self._scheduler: Any = client.scheduler
        self._loop: Any = client.loop
        self._sweep = spec.name
        self._game_axes = [spec.dims.index(dim) for dim in spec.game_dims]
        self._games = tuple(spec.shape[axis] for axis in self._game_axes)
        labels = [_label(spec, index) for index in np.ndindex(*self._games)]
        groups = np.array_split(np.arange(len(labels)), min(MOST_ROWS, len(labels)))
        self._first = np.array([group[0] for group in groups])  # game of each row
        self._row = np.repeat(np.arange(len(groups)), [len(group) for group in groups])  # of each game
        self._labels = [
            labels[group[0]] if len(group) == 1 else f"{labels[group[0]]} … {labels[group[-1]]}" for group in groups
        ]
        self._count, self._sum = np.zeros((2, len(groups)))
        self._least = np.full(len(groups), math.inf)

    def record(self, index: Index, result: TrainingResult) -> None:
        """A run came back."""
        if result.failed or "equilibrium_gap" not in result.arrays:
            return
        game = np.ravel_multi_index([index[axis] for axis in self._game_axes], self._games) if self._games else 0
        row, gap = self._row[game], float(result.arrays["equilibrium_gap"][-1])
        self._count[row] += 1
        self._sum[row] += gap
        self._least[row] = min(self._least[row], gap)

    def tell(self, progress: Progress, status: NDArray[np.int8]) -> None:
        """Send what is known to the scheduler, and wait for nothing.

        status: of all runs, [*swept dims].
        """
        message = self.message(progress, status)

        async def send() -> None:
            with suppress(
                Exception
            ):  # a page that is late stops no sweep; whether the scheduler is there, others check
                await self._scheduler.log_event(topic=TOPIC, msg=message)

        self._loop.add_callback(send)

    def message(self, progress: Progress, status: NDArray[np.int8]) -> dict[str, Any]:
        """What `stackpop.cluster.board` shows, as plain numbers and lists.

        games: the label of each row. cells: [row, cell] the most urgent status in each, as a position in `COLOURS`.
        counts: runs by status. gap_mean, gap_best: [row] equilibrium gaps, NaN where none is known.
        """
        by_game = np.moveaxis(status, self._game_axes, range(len(self._games))).reshape(len(self._row), -1)
        urgent = np.maximum.reduceat(_URGENCY[by_game], self._first, axis=0)
        runs = urgent.shape[1]
        starts = np.unique(np.linspace(0, runs, min(runs, MOST_COLUMNS), endpoint=False).astype(int))
        counts = np.bincount(status.ravel(), minlength=len(Status))
        seen = self._count > 0
        return {
            "sweep": self._sweep,
            "games": self._labels,
            "runs_a_game": runs,
            "cells": np.maximum.reduceat(urgent, starts, axis=1).tolist(),
            "counts": {each.name.lower(): int(counts[each]) for each in Status},
            "gap_mean": np.where(seen, self._sum / np.maximum(self._count, 1), np.nan).tolist(),
            "gap_best": np.where(seen, self._least, np.nan).tolist(),
            "finished": progress.finished_now,
            "seconds": progress.seconds,
            "runs_per_second": progress.runs_per_second,
            "env_steps_per_second": progress.env_steps_per_second,
            "seconds_left": progress.seconds_left,
        }


def _label(spec: SweepSpec, index: tuple[int, ...]) -> str:
    """What a game is called: its labels along the dims that tell games apart."""
    if not index:
        return spec.run((0,) * len(spec.dims)).matrix
    return ", ".join(str(spec.labels[dim][k]) for dim, k in zip(spec.game_dims, index, strict=True))
