"""Parts of a results dataset, by the names and labels that a user writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from stackpop.errors import StackpopError, did_you_mean, explain
from stackpop.spec import SweepSpec


def of_sweep(results: xr.Dataset, spec: SweepSpec) -> xr.Dataset:
    """The runs of a sweep in its order, of a store that may hold more."""
    return results.isel({dim: _positions(results, dim, labels) for dim, labels in spec.labels.items()})


def dim_of(results: xr.Dataset, axis: str, field: str) -> str:
    """The dim of a swept axis, called `leader.lr` or `leader_lr`.

    Raises:
        StackpopError: the runs have no such dim; `field` says where it was named.
    """
    dims = [str(dim) for dim in results.status.dims]
    name = axis.replace(".", "_")
    if name in dims:
        return name
    remedy = did_you_mean(name, dims) if dims else "a sweep without axes has nothing to choose from"
    raise StackpopError(explain(field, expected="a swept axis of the store", got=repr(axis), remedy=remedy))


def select(results: xr.Dataset, where: Mapping[str, Any]) -> xr.Dataset:
    """The runs with certain labels: axis -> a label, whose dim goes, or a list of labels, whose dim stays.

    A text stands for the label that it spells: "0.008", "true".

    Raises:
        StackpopError: no such axis, or no such label along it.
    """
    places: dict[str, int | list[int]] = {}
    for axis, wanted in where.items():
        dim = dim_of(results, axis, "where")
        many = isinstance(wanted, list | tuple)
        known = results.indexes[dim].tolist()
        labels = [_label(axis, label, known) for label in (wanted if many else [wanted])]
        positions = [known.index(label) for label in dict.fromkeys(labels)]
        places[dim] = positions if many else positions[0]
    return results.isel(places)


def _label(axis: str, wanted: object, known: Sequence[Any]) -> Any:
    """The label that is meant; true is not 1, so kinds must agree."""
    for label in known:
        if isinstance(label, bool) == isinstance(wanted, bool) and label == wanted:
            return label
        if isinstance(wanted, str) and not isinstance(label, str) and _spells(wanted, label):
            return label
    expected, remedy = f"one of its values for {axis}", did_you_mean(str(wanted), map(str, known))
    raise StackpopError(explain("where", expected=expected, got=repr(wanted), remedy=remedy))


def _spells(text: str, label: float) -> bool:
    if isinstance(label, bool):
        return text.lower() == str(label).lower()
    try:
        return float(text) == label
    except ValueError:
        return False


def _positions(results: xr.Dataset, dim: str, labels: Sequence[Any]) -> Any:
    """Positions rather than labels, for a list of truth values would be taken as a mask."""
    return results.indexes[dim].get_indexer(list(labels))
