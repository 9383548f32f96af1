"""`run_sweep`: from a sweep file to a store of results."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stackpop.cluster import ClusterOptions, Connection, Supply, Workers, check_available, connect, dashboard
from stackpop.errors import ClusterError, SpecError, StoreError, explain
from stackpop.spec import SweepSpec, load_cluster, load_sweep
from stackpop.store import ResultsWriter, open_results, store_exists
from stackpop.sweep.collect import Collector
from stackpop.sweep.flight import task_prefixes
from stackpop.sweep.plan import Plan, RunsPerTask, make_plan
from stackpop.sweep.progress import Progress, Watcher
from stackpop.sweep.search import check_installed

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep runs; nothing here changes its results.

    store: where the results go, by default `results/<sweep name>.zarr`. runs_per_task: runs trained in one
    tensor program, or "auto". retry_failed: train failed runs again. cluster: where the tasks run. run_limit:
    seconds after which a training fails that has not ended, None for no limit; a pack of N runs may take N times as
    long, as a run's `wall_seconds` are its share of its pack.
    """

    store: str | os.PathLike[str] | None = None
    runs_per_task: RunsPerTask = 1
    retry_failed: bool = False
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    run_limit: float | None = None

    def __post_init__(self) -> None:
        if self.store is not None and not os.fspath(self.store):
            raise StoreError(
                explain("store", expected="a folder", got="nothing", remedy="leave it out for the default")
            )
        size = self.runs_per_task
        if size != "auto" and (not isinstance(size, int) or size < 1):
            remedy = "auto fills the workers"
            expected = "a whole number of 1 or more, or auto"
            raise SpecError(explain("runs_per_task", expected=expected, got=repr(size), remedy=remedy))
        limit = self.run_limit
        if limit is not None and not 0 < limit < math.inf:
            remedy = "leave it out for no limit"
            raise SpecError(explain("run_limit", expected="seconds above 0", got=f"{limit:g}", remedy=remedy))

    def store_path(self, spec: SweepSpec) -> str:
        """Where the results of this sweep go."""
        return os.path.join("results", f"{spec.name}.zarr") if self.store is None else os.fspath(self.store)


def run_sweep(
    sweep: SweepSpec | str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    runs_per_task: RunsPerTask = 1,
    retry_failed: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    cluster: str | os.PathLike[str] | None = None,
    client: Client | None = None,
    run_limit: float | None = None,
) -> xr.Dataset:
    """Run what is missing of a sweep and open its results.

    sweep: a sweep file, or what `load_sweep` made of one. overrides: `key=value` settings, as of `--set`.
    client: a Dask client to use; without one, a scheduler's address or file, `workers` local processes, the cluster
    in the file `cluster`, the one in the sweep file, or one local process a core; a script that starts local ones
    needs the usual `if __name__ == "__main__":`, for they import it. run_limit: seconds that a training may take, see
    `SweepOptions`. Failed runs are in the results' `status` and `error`.

    Raises:
        SpecError, StoreError, ClusterError: as the message says; nothing finished is lost.
    """
    if overrides and isinstance(sweep, SweepSpec):
        raise SpecError("overrides: expected none with a loaded sweep, got some; give them to load_sweep")
    file = None if cluster is None else load_cluster(cluster)
    where = ClusterOptions(scheduler, scheduler_file, workers, file=file)
    if client is not None and where != ClusterOptions():
        raise ClusterError("client: expected alone, got workers, a scheduler or a cluster as well; leave one out")
    spec = sweep if isinstance(sweep, SweepSpec) else load_sweep(sweep, overrides)
    options = SweepOptions(store, runs_per_task, retry_failed, where, run_limit)
    execute(spec, options, client=client)
    return open_results(options.store_path(spec))


def execute(
    spec: SweepSpec, options: SweepOptions, watcher: Watcher | None = None, *, client: Client | None = None
) -> Progress:
    """Plan, submit, collect, record; a cluster is started only if something is missing."""
    watcher = watcher or Watcher()
    path, cluster = options.store_path(spec), options.cluster.over(spec.cluster)
    check_installed(spec)
    if client is None and not store_exists(path):
        check_available(
            cluster, spec.device
        )  # first, for a cluster that cannot be had must leave no empty store behind
    with ResultsWriter(path, spec) as writer:
        plan = survey(spec, options, writer, threads=1)
        if not len(plan.pending) and not writer.missing_ground_truth():
            watcher.announce(plan, None)
            return Progress(plan, plan.done, plan.failed)
        if client is not None:
            return _execute_on(Connection(client, Supply()), spec, options, writer, watcher)
        with connect(cluster, task_prefixes(spec), spec.device) as own:
            return _execute_on(own, spec, options, writer, watcher)


def survey(spec: SweepSpec, options: SweepOptions, writer: ResultsWriter, threads: int) -> Plan:
    """What is missing from an open store."""
    followers = writer.followers.status if writer.followers else None
    return make_plan(
        spec,
        writer.leaders.status,
        followers,
        retry_failed=options.retry_failed,
        runs_per_task=options.runs_per_task,
        threads=threads,
    )


def _execute_on(
    connection: Connection, spec: SweepSpec, options: SweepOptions, writer: ResultsWriter, watcher: Watcher
) -> Progress:
    client, supply = connection.client, connection.supply
    if supply.warning:
        watcher.warn(supply.warning)
    workers = Workers(client, supply, spec.device)
    threads = workers.wait(watcher.waiting)
    plan = survey(spec, options, writer, threads=max(threads, workers.threads_to_come))
    watcher.announce(plan, dashboard(client))
    collector = Collector(client, workers, writer, plan, watcher, options.run_limit)
    collector.run()
    return collector.progress
