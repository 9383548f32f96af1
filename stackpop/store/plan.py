"""What a sweep needs of a store, beside what the store holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from stackpop.store.arrays import open_array
from stackpop.store.layout import Document, Labels, Layout, Sweep, merge_labels
from stackpop.store.location import Location
from stackpop.store.schema import (
    FOLLOWER_DIM_NAMES,
    FOLLOWER_VARIABLES,
    FOLLOWERS,
    GROUND_TRUTH,
    LEADER_VARIABLES,
    STATUS,
    TRIAL,
    searched_variable,
)

Positions = Mapping[str, NDArray[np.intp]]  # dim -> place in the store of each label of the sweep


def trains_followers(spec: Sweep) -> bool:
    """Whether a sweep has follower trainings: none where every oracle is exact."""
    return spec.follower_sizes.get("iteration", 0) > 0


def stored_dims(stored: Mapping[str, Document]) -> dict[str, tuple[str, ...]]:
    """The swept dims of each group of a store ("" is the root), from its documents."""
    paths = {"": STATUS.name, FOLLOWERS: f"{FOLLOWERS}/{STATUS.name}"}
    return {group: tuple(stored[path]["dimension_names"]) for group, path in paths.items() if path in stored}


def stored_labels(place: Location, stored: Mapping[str, Document], dims: tuple[str, ...]) -> dict[str, Labels]:
    """The committed labels of each swept dim: what an interrupted extension left behind them does not count."""
    group = open_group(place)
    return {dim: np.asarray(open_array(group, dim)[...]) for dim in dims if dim in stored}


def open_group(place: Location, *, writing: bool = False) -> zarr.Group:
    """The root group of a store, with the committed sizes of everything below it."""
    mode: Literal["r", "r+"] = "r+" if writing else "r"
    return zarr.open_group(place.zarr(writing=writing), mode=mode, zarr_format=3, use_consolidated=True)


def plan_groups(
    spec: Sweep, stored_labels: Mapping[str, Labels], stored: Mapping[str, Document]
) -> tuple[dict[str, Layout], Positions]:
    """The groups of the store with stored and new labels, and where the sweep's labels are among them."""
    merged = {dim: merge_labels(dim, stored_labels.get(dim), spec.labels[dim]) for dim in spec.dims}
    labels = {dim: both[0] for dim, both in merged.items()}
    positions = {dim: both[1] for dim, both in merged.items()}

    def largest(path: str, size: int) -> int:
        return max(size, stored[path]["shape"][0]) if path in stored else size

    sizes = {dim: largest(dim, size) for dim, size in spec.leader_sizes.items()}
    searched = tuple(map(searched_variable, spec.searched))
    layouts = {"": Layout("", spec.dims, labels, sizes, LEADER_VARIABLES, spec.game_dims, GROUND_TRUTH, searched)}
    if trains_followers(spec) or f"{FOLLOWERS}/{STATUS.name}" in stored:
        named = {name: spec.follower_sizes.get(dim, 0) for dim, name in FOLLOWER_DIM_NAMES.items()}
        sizes = {dim: largest(f"{FOLLOWERS}/{dim}", size) for dim, size in named.items()}
        searched = searched if TRIAL in spec.follower_dims else ()
        layouts[FOLLOWERS] = Layout(FOLLOWERS, spec.follower_dims, labels, sizes, FOLLOWER_VARIABLES, searched=searched)
    return layouts, positions
