"""What a scheduler shows of a sweep: the page `/stackpop` beside Dask's own, and gauges on `/metrics`.

A preload of the scheduler, `dask scheduler --preload stackpop.cluster.board`; clusters that a sweep starts have it. The
sweep's client tells the scheduler once a second how far it is (see `stackpop.sweep.board`), and both read what it told
last. A scheduler without the preload takes the same messages, and shows the tasks by their names alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from distributed import Scheduler

PRELOAD = __name__
TOPIC = "stackpop"  # of the client's messages
PAGE = "/stackpop"
# In the order of urgency: of many runs that share a cell, the last of these is shown. Colours of Okabe & Ito's palette,
# which stays apart for colour-blind readers.
COLOURS = {"done": "#009E73", "blocked": "#F0E442", "pending": "#DDDDDD", "running": "#56B4E9", "failed": "#D55E00"}


def latest(scheduler: Scheduler) -> dict[str, Any] | None:
    """What a sweep's client told last; None before the first message."""
    told = scheduler.get_events(TOPIC)
    return dict(told[-1][1]) if told else None


class Gauges:
    """Prometheus's view of the sweep."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Any]:
        """The gauges, with what was told last; Prometheus's registry calls this."""
        from prometheus_client.core import GaugeMetricFamily

        told = latest(self._scheduler)
        runs = GaugeMetricFamily("stackpop_runs", "Leader runs of the sweep", labels=["sweep", "status"])
        speed = GaugeMetricFamily("stackpop_runs_per_second", "Runs finished per second", labels=["sweep"])
        steps = GaugeMetricFamily("stackpop_env_steps_per_second", "Environment steps per second", labels=["sweep"])
        gaps = {
            which: GaugeMetricFamily(
                f"stackpop_equilibrium_gap_{which}", f"{which} gap at the end of runs so far", labels=["sweep", "game"]
            )
            for which in ("mean", "best")
        }
        if told is not None:
            sweep = told["sweep"]
            for status, count in told["counts"].items():
                runs.add_metric([sweep, status], count)
            speed.add_metric([sweep], told["runs_per_second"])
            steps.add_metric([sweep], told["env_steps_per_second"])
            for which, gauge in gaps.items():
                for game, gap in zip(told["games"], told[f"gap_{which}"], strict=True):
                    if not math.isnan(gap):
                        gauge.add_metric([sweep, game], gap)
        yield from (runs, speed, steps, *gaps.values())


_shown: set[str] = set()  # ids of schedulers
_gauges: dict[str, Gauges] = {}  # by a scheduler's id


def dask_setup(scheduler: Scheduler) -> None:
    """Dask calls this when the scheduler starts."""
    from distributed.dashboard.core import BokehApplication

    from stackpop.cluster.page import population  # here, for clients and workers do without Bokeh

    pages = BokehApplication({PAGE: population}, scheduler)
    scheduler.http_application.add_application(pages)
    pages.initialize(scheduler.loop)
    pages.start()
    _shown.add(scheduler.id)
    with suppress(ImportError):  # Dask has no gauges either then
        from prometheus_client import REGISTRY

        _gauges[scheduler.id] = Gauges(scheduler)
        REGISTRY.register(_gauges[scheduler.id])


def is_shown(dask_scheduler: Scheduler) -> bool:
    """Whether this scheduler has the page; to be run there."""
    return dask_scheduler.id in _shown


def dask_teardown(scheduler: Scheduler) -> None:
    """Dask calls this when the scheduler stops."""
    _shown.discard(scheduler.id)
    if gauges := _gauges.pop(scheduler.id, None):
        from prometheus_client import REGISTRY

        REGISTRY.unregister(gauges)
