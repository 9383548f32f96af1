"""Results for other tools: a table with a row a run (CSV, Parquet), or all of them in one NetCDF file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from stackpop.analysis import WINDOW, converged, convergence_time, final
from stackpop.errors import StackpopError, explain
from stackpop.store import Status, open_results, read_progress

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "parquet", "netcdf"]
ENDINGS: dict[Format, str] = {"csv": ".csv", "parquet": ".parquet", "netcdf": ".nc"}
NEEDED: dict[Format, str] = {"parquet": "pyarrow", "netcdf": "h5py"}
CURVES = {"iteration": "", "post_iteration": ""}


def export(store: str, kind: Format, file: Path, window: int = WINDOW) -> None:
    """Write the results of a store; see `run_table` for what a row holds.

    Raises:
        StoreError: no store of ours.
        StackpopError: a library is missing, or the place cannot be written to.
    """
    library = NEEDED.get(kind)
    if library is not None and find_spec(library) is None:
        remedy = "pip install 'stackpop[export]'"
        raise StackpopError(explain("--format", expected=f"{library} for {kind}", got="none", remedy=remedy))
    results = open_results(store)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "csv":
            run_table(results, window).to_csv(file, index=False)
        elif kind == "parquet":
            run_table(results, window).to_parquet(file, index=False, engine="pyarrow")
        else:
            _netcdf(store, results, file)
    except OSError as error:
        got = str(error.strerror or error).lower()
        raise StackpopError(explain(str(file), expected="a file to write", got=got, remedy="name another")) from error


def run_table(results: xr.Dataset, window: int = WINDOW) -> pd.DataFrame:
    """A row a run, done or not, in the order of the store.

    Columns: the labels along the swept dims and what a search tried; `status` as a word, `error` and how the run went;
    the exact values of its game; each curve's mean over the run's last `window` values, empty where the run is not
    done, counts as they stood at the end; `converged` (empty where not known), `convergence_update`,
    `convergence_env_steps`.
    """
    dims = [str(dim) for dim in results.status.dims]
    done = results.status == Status.DONE
    columns: dict[str, xr.DataArray] = {"status": _words(results.status)}
    for name, values in results.variables.items():
        inner = set(map(str, values.dims)) - set(dims)
        if name in dims or name == "status" or name in inner or not inner <= set(CURVES) or len(inner) > 1:
            continue
        columns[str(name)] = _last(results[name], inner, window).where(done) if inner else results[name]
    times = convergence_time(results, window=window)
    columns["converged"] = converged(results, window).astype(float).where(times.known)
    columns["convergence_update"], columns["convergence_env_steps"] = times.updates, times.env_steps
    table = xr.Dataset({name: values.reset_coords(drop=True) for name, values in columns.items()}).load()
    frame: pd.DataFrame = table.to_dataframe(dim_order=dims).reset_index() if dims else _single(table)
    return frame[[*dims, *columns]]


def _single(table: xr.Dataset) -> pd.DataFrame:
    """The table of a sweep without axes."""
    return table.expand_dims(run=[0]).to_dataframe().reset_index(drop=True)


def _last(values: xr.DataArray, inner: set[str], window: int) -> xr.DataArray:
    """A curve's end: the mean of its last values, or of a count the last that was made."""
    (dim,) = inner
    if values.dtype.kind == "i":
        last: xr.DataArray = values.max(dim)
        return last.where(last >= 0)
    return final(values, window, dim) if values.sizes[dim] else values.sum(dim) * np.nan


def _words(status: xr.DataArray) -> xr.DataArray:
    names = np.array([kind.name.lower() for kind in Status], dtype=object)
    return status.copy(data=names[status.values])


def _netcdf(store: str, results: xr.Dataset, file: Path) -> None:
    """The groups of a store as those of a file, lazily; their attributes tell what everything is."""
    _plain(results).to_netcdf(file, engine="h5netcdf")
    if read_progress(store).followers is not None:
        _plain(open_results(store, "followers")).to_netcdf(file, mode="a", group="followers", engine="h5netcdf")


def _plain(group: xr.Dataset) -> xr.Dataset:
    """Without Zarr's encoding, and with texts, which are few and short, of a type that NetCDF has."""
    plain = group.drop_encoding()
    texts = {name: plain[name].load() for name, values in plain.variables.items() if values.dtype.kind == "T"}
    return plain.assign({name: each.astype(object) for name, each in texts.items()})
