"""A sweep file turned into validated, fully resolved runs with stable names."""

from stackpop.spec.check_cluster import load_cluster
from stackpop.spec.claims import Claim, Quantity
from stackpop.spec.cluster import ClusterSpec
from stackpop.spec.load import load_sweep, parse_sweep
from stackpop.spec.runs import QUERYLESS_ORACLES, TRAINED_ORACLES, FollowerSpec, GameSettings, RunSpec
from stackpop.spec.stored import stored_run
from stackpop.spec.sweep import SweepSpec

__all__ = [
    "QUERYLESS_ORACLES",
    "TRAINED_ORACLES",
    "Claim",
    "ClusterSpec",
    "FollowerSpec",
    "GameSettings",
    "Quantity",
    "RunSpec",
    "SweepSpec",
    "load_cluster",
    "load_sweep",
    "parse_sweep",
    "stored_run",
]
