"""TensorBoard: one folder with one event file a run, there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from stackpop.errors import TrackingError, explain
from stackpop.tracking.runs import RunKey, TrackedRun

FILE_VERSION = "brain.Event:2"  # what every event file begins with


class TensorBoard:
    """Event files under `<folder>/tensorboard/<sweep>/`; what is there is never written again.

    A failed run has a folder of its own name, which goes when the run is done after all.
    """

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "tensorboard"
        self._building = folder / ".tensorboard.new"  # not among the logs, where a viewer would find it half done
        shutil.rmtree(self._building, ignore_errors=True)  # of a replay that was killed, for we hold the lock
        self.where = str(self._logs)

    def has(self, key: RunKey) -> bool:
        """Whether a run is there."""
        return self._folder(key, key.status).exists()

    def log(self, run: TrackedRun) -> None:
        """Write a run aside, then put it in place in one step."""
        self._building.mkdir(parents=True)
        with open(self._building / f"events.out.tfevents.{int(run.key.finished):010d}.stackpop", "wb") as file:
            writer = RecordWriter(file)
            for event in _events(run):
                writer.write(event.SerializeToString())
        target = self._folder(run.key, run.key.status)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self._building, target)
        if run.key.status == "done":
            shutil.rmtree(self._folder(run.key, "failed"), ignore_errors=True)

    def _folder(self, key: RunKey, status: str) -> Path:
        end = "" if status == "done" else f"-{status}"
        parts = key.sweep, f"{key.name}-{key.id}{end}"
        if any(part in {"", ".", ".."} or "/" in part for part in parts):  # a stranger's store may say anything
            remedy = "no sweep of stackpop has it, so do not trust this store"
            got = repr("/".join(parts))
            raise TrackingError(explain("sweep", expected="names that are words", got=got, remedy=remedy))
        return self._logs.joinpath(*parts)


def _events(run: TrackedRun) -> Iterator[Any]:
    """Settings, one event an iteration, and the exact values beside the last of them."""
    history, post = run.history(), run.post_history()
    yield Event(wall_time=run.key.started, file_version=FILE_VERSION)
    settings = {**run.flat_settings(), **{name: run.facts[name] for name in ("status", "error")}}
    start = run.key.started or None
    yield Event(wall_time=run.key.started, summary=hparams_pb(settings, trial_id=run.key.id, start_time_secs=start))
    seconds = run.key.finished - run.key.started
    for k, (step, values) in enumerate(history, start=1):
        yield _scalars(values, step, run.key.started + seconds * k / len(history))
    for step, values in post:
        yield _scalars({f"post/{name}": value for name, value in values.items()}, step, run.key.finished)
    if history:
        exact = {f"exact/{name}": value for name, value in run.exact.items()}
        yield _scalars(exact, history[-1][0], run.key.finished)


def _scalars(values: Mapping[str, float], step: int, wall_time: float) -> Any:
    found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    return Event(wall_time=wall_time, step=step, summary=Summary(value=found))
