"""The result store: one Zarr v3 store a sweep, read by plain xarray, written by one process.

Nothing outside this package knows the schema, or whether a store is a folder or objects in a bucket (`location`).
`ResultsWriter` makes, extends and fills a store; `open_results` and `read_progress` read one.
"""

from stackpop.store.group import GroupWriter
from stackpop.store.layout import SEEDS_A_BLOCK
from stackpop.store.location import WriterInfo, beside, store_exists
from stackpop.store.reader import (
    FailedRun,
    GroupProgress,
    Progress,
    bytes_per_run,
    count_unfinished,
    open_results,
    read_progress,
    read_statuses,
)
from stackpop.store.schema import SCHEMA_VERSION, SEED, Status
from stackpop.store.writer import ResultsWriter

__all__ = [
    "SCHEMA_VERSION",
    "SEED",
    "SEEDS_A_BLOCK",
    "FailedRun",
    "GroupProgress",
    "GroupWriter",
    "Progress",
    "ResultsWriter",
    "Status",
    "WriterInfo",
    "beside",
    "bytes_per_run",
    "count_unfinished",
    "open_results",
    "read_progress",
    "read_statuses",
    "store_exists",
]
