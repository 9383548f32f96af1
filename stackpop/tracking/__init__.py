"""Show runs in an experiment tracker, replayed from their store: the store is the record, the tracker a view of it.

A run has one id for ever and is logged when it has ended, once. What was logged is remembered in a folder beside the
store, so that neither a resumed sweep nor a second replay repeats or overwrites a step.
"""

from stackpop.tracking.background import Tracking
from stackpop.tracking.replay import TRACKERS, TrackerName, check_installed, default_folder, replay
from stackpop.tracking.runs import RunKey, TrackedRun, ended_runs

__all__ = [
    "TRACKERS",
    "RunKey",
    "TrackedRun",
    "TrackerName",
    "Tracking",
    "check_installed",
    "default_folder",
    "ended_runs",
    "replay",
]
