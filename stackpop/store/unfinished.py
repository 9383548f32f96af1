"""The unfinished runs of a store: what their trainings go on from, beside the Zarr arrays, a file for each pack.

They are no arrays of the store, since each learner's are of other names and shapes, and they are gone once the runs
end. One array is common to all: `made`, the updates so far. A file that is not whole, as after a power cut, or that
other code wrote, is as good as none.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np

from stackpop.provenance import source_hash
from stackpop.results import TrainingResult
from stackpop.store.location import Location, Lock

FOLDER = "unfinished"
# Members of a file beside the arrays of its runs, [run, ...], whose names have a dot or no capital letter.
_RUN, _SECONDS, _STARTED, _SOURCE = "RUN", "SECONDS", "STARTED", "SOURCE"
# What comes of bytes that are no such file, or half of one.
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, EOFError, NotImplementedError, zipfile.BadZipFile)


class UnfinishedRuns:
    """The unfinished runs of a store, by `run_id`; for the one that holds the store's lock."""

    def __init__(self, place: Location, lock: Lock) -> None:
        self._place, self._lock = place, lock
        self._runs: dict[str, set[str]] = {}  # key of a file -> the runs of which it has the latest
        self._file: dict[str, str] = {}  # run -> key of the file that has its latest
        self._read: tuple[str, dict[str, TrainingResult]] = ("", {})  # the file that was read last
        with place.faults():
            self._open()

    def _open(self) -> None:
        """Find what an earlier writer left, the latest of each run; a pack may have been divided since."""
        made: dict[str, tuple[int, list[str]]] = {}
        for key in self._place.keys(FOLDER):
            if found := self._load(key):
                made[key] = max(int(result.arrays["made"]) for result in found.values()), list(found)
            else:
                self._place.remove(key)
        for key, (_, runs) in sorted(made.items(), key=lambda item: item[1][0]):
            self._took_up(key, runs)

    def __len__(self) -> int:
        return len(self._file)

    def known(self, run: str) -> TrainingResult | None:
        """What a run goes on from, if it was cut off."""
        key = self._file.get(run)
        return None if key is None else self._load(key).get(run)

    def record(self, runs: Sequence[str], results: Sequence[TrainingResult]) -> None:
        """Keep what a pack of unfinished runs goes on from, all of equally many updates; on the disk at once.

        Raises:
            StoreError: the disk is full or refuses, or another writer has taken over.
        """
        self._lock.check()
        key = f"{FOLDER}/{sha256(' '.join(runs).encode()).hexdigest()[:16]}.npz"
        members = {name: np.stack([result.arrays[name] for result in results]) for name in results[0].arrays}
        members |= {_RUN: np.array(runs), _SOURCE: np.array(source_hash())}
        members |= {_SECONDS: np.array([result.wall_seconds for result in results])}
        members |= {_STARTED: np.array([result.started for result in results])}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **members)
        with self._place.faults():
            self._place.write({key: content.getvalue()})
        self._read = ("", {})
        self._took_up(key, runs)

    def ended(self, runs: Iterable[str]) -> None:
        """Forget runs that are done or failed, once the store says so."""
        for run in runs:
            self._leave(run)

    def _took_up(self, key: str, runs: Iterable[str]) -> None:
        """A file has the latest of these runs; files that have nobody's latest go."""
        for run in runs:
            if self._file.get(run) != key:
                self._leave(run)
            self._file[run] = key
            self._runs.setdefault(key, set()).add(run)

    def _leave(self, run: str) -> None:
        key = self._file.pop(run, None)
        if key is None:
            return
        self._runs[key].discard(run)
        if not self._runs[key]:
            del self._runs[key]
            with self._place.faults():
                self._place.remove(key)

    def _load(self, key: str) -> dict[str, TrainingResult]:
        if self._read[0] != key:
            self._read = (key, _results(self._place.read(key) or b""))
        return self._read[1]


def unfinished_runs(place: Location) -> set[str]:
    """The runs of a store that can go on from where they were cut off; safe while another process writes."""
    with place.faults():
        return {run for key in place.keys(FOLDER) for run in _runs_in(place.read(key) or b"")}


def _runs_in(content: bytes) -> list[str]:
    """The runs of a file, without what they go on from; none if it is of no use."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return list(map(str, found[_RUN])) if str(found[_SOURCE]) == source_hash() else []
    except _UNREADABLE:
        return []


def _results(content: bytes) -> dict[str, TrainingResult]:
    """The runs of a file; none if it is of no use."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            members = dict(found)
        if str(members.pop(_SOURCE)) != source_hash():
            return {}
        runs, seconds, started = (members.pop(name) for name in (_RUN, _SECONDS, _STARTED))
        return {
            str(run): TrainingResult(
                {name: values[row] for name, values in {"made": members["made"], **members}.items()},
                wall_seconds=float(seconds[row]),
                started=float(started[row]),
                unfinished=True,
            )
            for row, run in enumerate(runs)
        }
    except _UNREADABLE:
        return {}
