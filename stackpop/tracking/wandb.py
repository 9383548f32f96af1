"""Weights & Biases: one tracked run a run, online or (`WANDB_MODE=offline`) as files for `wandb sync`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from stackpop.errors import TrackingError, explain
from stackpop.tracking.runs import RunKey, TrackedRun

ANSWER_SECONDS = 20.0
HEADER_BYTES = 7  # of a .wandb file without any record
PROJECT = "stackpop"

os.environ.setdefault("WANDB_SILENT", "true")  # it reads this when it is imported
import wandb  # noqa: E402 after the line above, which it reads


class WeightsAndBiases:
    """Runs of one project, remembered in a ledger, a line each: id and status.

    The ledger gets its line after the run is complete. A replay that was killed in between logs the run again under
    the same id: online, steps that the server has are left out; offline, a run's files are put in place in one step
    under a name that stays the same, so that it is found there.
    """

    def __init__(self, folder: Path, project: str | None) -> None:
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._files = folder / "wandb"
        self._building = folder / ".wandb.new"
        shutil.rmtree(self._building, ignore_errors=True)  # of a replay that was killed, for we hold the lock
        self._building.mkdir(parents=True)
        self._files.mkdir(exist_ok=True)
        entity = os.environ.get("WANDB_ENTITY")
        self._ledger = folder / f"wandb-{f'{entity}-' if entity else ''}{self._project}.logged"
        self._logged = set(_whole_lines(self._ledger))
        self._ready = False
        self.where = f"project {self._project}"

    def has(self, key: RunKey) -> bool:
        """Whether a run was logged completely."""
        return _line(key) in self._logged or self._offline_files(key).exists()

    def log(self, run: TrackedRun) -> None:
        """Log a run to its end.

        Raises:
            TrackingError: no key, or switched off.
            Exception: whatever wandb raises when its server refuses or does not answer.
        """
        self._log_in()
        tracked = self._begin(run)
        done = run.key.status == "done"
        try:
            _fill(tracked, run)
        except BaseException:
            tracked.finish(exit_code=1)
            raise
        tracked.finish(exit_code=0 if done else 1)
        files = Path(tracked.dir).parent
        if tracked.offline:
            _wait_until_written(files)
        os.rename(files, self._offline_files(run.key) if tracked.offline else self._files / files.name)
        with self._ledger.open("a") as ledger:
            ledger.write(f"{_line(run.key)}\n")
        self._logged.add(_line(run.key))

    def _log_in(self) -> None:
        """Once, without a question at the terminal."""
        if self._ready:
            return
        mode = wandb.setup().settings.mode
        if mode == "disabled":
            raise TrackingError(explain("WANDB_MODE", expected="online or offline", got=mode))
        if mode != "offline" and not wandb.login(prompt=False):
            remedy = "set it, run `wandb login`, or set WANDB_MODE=offline"
            raise TrackingError(explain("WANDB_API_KEY", expected="a key", got="none", remedy=remedy))
        self._ready = True

    def _begin(self, run: TrackedRun) -> Any:
        return wandb.init(
            project=self._project,
            id=run.key.id,
            resume="allow",
            name=run.key.name,
            group=run.key.sweep,
            config=dict(run.settings),
            dir=self._building,
            reinit="create_new",
            save_code=False,
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                init_timeout=ANSWER_SECONDS,
                x_disable_meta=True,  # of this machine, which trained nothing
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )

    def _offline_files(self, key: RunKey) -> Path:
        """Where `wandb sync` looks; the time tells a run that failed from its next attempt."""
        when = time.strftime("%Y%m%d_%H%M%S", time.gmtime(key.finished))
        return self._files / f"offline-run-{when}-{key.id}"


def _wait_until_written(files: Path) -> None:
    """On a busy machine a run is finished a moment before wandb's own process has written its file.

    Raises:
        TimeoutError: it wrote nothing.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    while not any(file.stat().st_size > HEADER_BYTES for file in files.glob("run-*.wandb")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no records in {files} after {ANSWER_SECONDS:g} s")
        time.sleep(0.05)


def _fill(tracked: Any, run: TrackedRun) -> None:
    """History and summary. A step that a resumed run has already is left out: it holds the same."""
    tracked.define_metric("post/iteration", hidden=True)
    tracked.define_metric("post/*", step_metric="post/iteration")
    history = run.history()
    last = history[-1][0] if history else 0
    for step, values in history:
        if step >= tracked.starting_step:
            tracked.log(values, step=step)
    for step, values in run.post_history():
        if last + step >= tracked.starting_step:
            row = {"post/iteration": step, **{f"post/{name}": value for name, value in values.items()}}
            tracked.log(row, step=last + step)
    tracked.summary.update({**{f"exact/{name}": value for name, value in run.exact.items()}, **run.facts})


def _line(key: RunKey) -> str:
    return f"{key.id} {key.status}"


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file but for a last one that was cut, which is taken away so that the next starts afresh."""
    text = path.read_text() if path.exists() else ""
    whole, _, cut = text.rpartition("\n")
    if cut:
        os.truncate(path, len(text.encode()) - len(cut.encode()))
    return whole.split("\n") if whole else []
