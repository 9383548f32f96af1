"""Run a sweep: plan what is missing, submit it to Dask, collect and record what comes back."""

from stackpop.sweep.plan import Plan, RunsPerTask, make_plan
from stackpop.sweep.progress import Progress, Watcher
from stackpop.sweep.run import SweepOptions, execute, run_sweep

__all__ = ["Plan", "Progress", "RunsPerTask", "SweepOptions", "Watcher", "execute", "make_plan", "run_sweep"]
