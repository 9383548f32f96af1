"""`run_sweep`: from a sweep file to a store of results."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stackpop.cluster import ClusterOptions, connect
from stackpop.errors import SpecError, explain
from stackpop.spec import SweepSpec, load_sweep
from stackpop.store import ResultsWriter, open_results
from stackpop.sweep.collect import Collector
from stackpop.sweep.plan import Plan, RunsPerTask, make_plan
from stackpop.sweep.progress import Progress, Report

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep runs; nothing here changes its results.

    store: where the results go, by default `results/<sweep name>.zarr`. runs_per_task: runs trained in one
    tensor program, or "auto". retry_failed: train failed runs again. cluster: where the tasks run.
    """

    store: str | os.PathLike[str] | None = None
    runs_per_task: RunsPerTask = 1
    retry_failed: bool = False
    cluster: ClusterOptions = ClusterOptions()

    def __post_init__(self) -> None:
        if self.runs_per_task != "auto" and self.runs_per_task < 1:
            raise SpecError(explain("runs_per_task", expected="1 or more, or auto", got=self.runs_per_task))

    def store_path(self, spec: SweepSpec) -> Path:
        """Where the results of this sweep go."""
        return Path(self.store) if self.store is not None else Path("results") / f"{spec.name}.zarr"


def run_sweep(
    sweep: SweepSpec | str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    runs_per_task: RunsPerTask = 1,
    retry_failed: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    client: Client | None = None,
) -> xr.Dataset:
    """Run what is missing of a sweep and open its results.

    sweep: a sweep file, or what `load_sweep` made of one. overrides: `key=value` settings, as of `--set`.
    client: a Dask client to use; without one, a scheduler's address or file, else a local cluster of
    `workers` processes for the occasion. Failed runs are in the results' `status` and `error`.

    Raises:
        SpecError, StoreError, ClusterError: as the message says; nothing finished is lost.
    """
    spec = sweep if isinstance(sweep, SweepSpec) else load_sweep(sweep, overrides)
    if overrides and isinstance(sweep, SweepSpec):
        raise SpecError("overrides: expected none with a loaded sweep; give them to load_sweep")
    cluster = ClusterOptions(scheduler, scheduler_file, workers)
    options = SweepOptions(store, runs_per_task, retry_failed, cluster)
    execute(spec, options, client=client)
    return open_results(options.store_path(spec))


def execute(
    spec: SweepSpec,
    options: SweepOptions,
    *,
    client: Client | None = None,
    announce: Callable[[Plan, Client | None], None] = lambda plan, client: None,
    report: Report = lambda progress: None,
) -> Progress:
    """Plan, submit, collect, record; a cluster is started only if something is missing.

    announce: told the plan once, before any work. report: told the progress several times a second.
    """
    with ResultsWriter(options.store_path(spec), spec) as writer:
        plan = survey(spec, options, writer, workers=1)
        if not len(plan.pending) and not writer.missing_ground_truth():
            announce(plan, None)
            return Progress(plan, plan.done, plan.failed)
        if client is not None:
            return _execute_on(client, spec, options, writer, announce, report)
        with connect(options.cluster) as own:
            return _execute_on(own, spec, options, writer, announce, report)


def survey(spec: SweepSpec, options: SweepOptions, writer: ResultsWriter, workers: int) -> Plan:
    """What is missing from an open store."""
    followers = writer.followers.status if writer.followers else None
    return make_plan(
        spec,
        writer.leaders.status,
        followers,
        retry_failed=options.retry_failed,
        runs_per_task=options.runs_per_task,
        workers=workers,
    )


def _execute_on(
    client: Client,
    spec: SweepSpec,
    options: SweepOptions,
    writer: ResultsWriter,
    announce: Callable[[Plan, Client | None], None],
    report: Report,
) -> Progress:
    plan = survey(spec, options, writer, workers=sum(client.nthreads().values()) or 1)
    announce(plan, client)
    collector = Collector(client, writer, plan, report)
    collector.run()
    return collector.progress
