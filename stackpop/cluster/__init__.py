"""Where tasks run: a local Dask cluster, one that is already there, or one that is asked for at a batch system."""

from stackpop.cluster.connect import Connection, check_available, connect
from stackpop.cluster.local import local_workers
from stackpop.cluster.options import ClusterOptions
from stackpop.cluster.supply import Supply
from stackpop.cluster.workers import Workers, check_connection, dashboard

__all__ = [
    "ClusterOptions",
    "Connection",
    "Supply",
    "Workers",
    "check_available",
    "check_connection",
    "connect",
    "dashboard",
    "local_workers",
]
