"""How far the unfinished runs of a sweep have come: long trainings are cut into segments, and go on from the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stackpop.results import NOT_BEGUN, TrainingResult
from stackpop.spec import RunSpec
from stackpop.store.unfinished import UnfinishedRuns
from stackpop.sweep.flight import LeaderPack
from stackpop.sweep.plan import grouped


class Segments:
    """The unfinished runs of one sweep: the latest of those in training in memory, and of all in the store."""

    def __init__(self, store: UnfinishedRuns) -> None:
        self._store = store
        self._latest: dict[str, TrainingResult] = {}
        self._ended: list[str] = []

    def parts(self, pack: LeaderPack) -> Iterator[tuple[LeaderPack, list[TrainingResult]]]:
        """The runs of a pack that have made equally many updates, with what each goes on from: nothing if none."""
        if not self._any:
            yield pack, []
            return
        earlier = {run.run_id: self._earlier(run.run_id) for _, run in pack}
        for part in grouped(iter(pack), lambda item: _made(earlier[item[1].run_id]), lambda _: len(pack)):
            yield part, [earlier[run.run_id] for _, run in part]

    @property
    def _any(self) -> bool:
        """Whether any run is unfinished: to name runs costs more than it takes to train the shortest."""
        return bool(self._latest or self._store)

    def _earlier(self, run: str) -> TrainingResult:
        return self._latest.get(run) or self._store.known(run) or NOT_BEGUN

    def took(self, pack: LeaderPack, results: Sequence[TrainingResult]) -> None:
        """Runs of a pack were cut off: keep what they go on from, in the store, too."""
        runs = [run.run_id for _, run in pack]
        self._store.record(runs, results)
        self._latest.update(zip(runs, results, strict=True))

    def ended(self, run: RunSpec) -> None:
        """A run is done or failed, or will be with the next flush."""
        if self._any:
            self._latest.pop(run.run_id, None)
            self._ended.append(run.run_id)

    def flushed(self) -> None:
        """The store says what became of the runs that ended."""
        self._store.ended(self._ended)
        self._ended.clear()


def _made(result: TrainingResult) -> str:
    return str(result.arrays["made"]) if result.arrays else ""
