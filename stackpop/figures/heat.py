"""Numbers in colours: gaps by setting, and leader policies over training."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.analysis import WINDOW, final, state_names
from stackpop.figures import style
from stackpop.figures.parts import (
    SEED,
    Setting,
    counted,
    drawn_updates,
    game_of,
    nothing,
    setting_dims,
    settings_of,
    whole,
)
from stackpop.store import Status

GAP = "equilibrium_gap"
FEW_UPDATES = 12
MOST_WRITTEN = 400  # cells; with more, numbers in them would not be read


def gap_map(results: xr.Dataset, over: str | None = None, window: int = WINDOW) -> Any:
    """The gap to the equilibrium as a heat map: games down, another axis across; both colours and numbers.

    over: the axis across, `leader.lr` or `leader_lr`; by default the learning rate, else the longest axis, and in a
    sweep over matrices and seeds alone the updates. Each cell is the mean gap over the last `window` updates (or at
    the update), over seeds and all other axes; white is none, orange a shortfall, blue more than the equilibrium.
    Cells without a run are empty.

    Raises:
        StackpopError: no such axis, no run done, or no known equilibrium.
    """
    results = whole(results, GAP)
    dims = setting_dims(results)
    dim = _across(results, dims, over)
    gap = results[GAP].where(results.status == Status.DONE).reset_coords(drop=True)
    if dim is None:
        places = np.unique(np.geomspace(1, gap.sizes["iteration"], FEW_UPDATES).round().astype(int)) - 1
        gap, dim = gap.isel(iteration=places), "iteration"
        how = "mean over seeds"
    else:
        gap = final(gap, window)
        others = [d for d in gap.dims if d not in ("matrix", dim)]
        how = f"mean over the last {window} updates and {', '.join(map(str, others))}"
    gap = gap.load()
    gap = gap.mean([d for d in gap.dims if d not in ("matrix", dim)])
    if "matrix" not in gap.dims:
        gap = gap.expand_dims(matrix=[game_of(results)])
    if not np.isfinite(gap.values).any():
        raise nothing("a known gap", "none in any run that is done", "draw the learning curves, which need none")
    gap = gap.transpose("matrix", dim)
    columns = [_tick(label) for label in results.get_index(dim)[: gap.sizes[dim]].tolist()]
    if dim == "iteration":
        columns = [f"{int(update):,}" for update in gap[dim].values]
    name = style.label_of(results[dim]) if dim == "iteration" else dim.replace("_", ".", 1)
    title = style.title_of(results, f"{results[GAP].attrs.get('long_name', GAP)}, {how}")
    return _heat_map(gap.values, list(map(str, gap.matrix.values)), columns, name, style.label_of(results[GAP]), title)


def leader_policy(results: xr.Dataset) -> Any:
    """Small multiples, one panel a setting: how likely leaders are to act in each state, over training.

    Each row is a state (what the leader remembers: its own last action, the follower's) and an action other than the
    first; its colour is the probability of that action after each update, mean over seeds.

    Raises:
        StackpopError: no run is done, or more than 24 settings.
    """
    results = whole(results, "leader_policy")
    settings = settings_of(results)
    policy = results.leader_policy.isel(iteration=drawn_updates(results.sizes["iteration"])).reset_coords(drop=True)
    policy = policy.where(results.status == Status.DONE).load()
    panels = [_policy_panel(policy.isel(setting.at), results, setting) for setting in settings]
    two = results.sizes["action"] == 2
    what = "probability of action 1" if two else "probability of each action but action 0"
    title = style.title_of(results, f"leader policy: {what} by state, mean over seeds")
    return style.multiples(panels, title, columns=3, panel=_WIDER, gap=0.5)


_WIDER = {"width": 350, "height": 240}


def _policy_panel(policy: xr.DataArray, results: xr.Dataset, setting: Setting) -> Any:
    mean = policy.mean(SEED).transpose("state", "action", "iteration")
    names = state_names(results.isel(setting.at), results.sizes["state"])
    rows, values = [], []
    for state in range(mean.sizes["state"]):
        for action in range(1, mean.sizes["action"]):
            numbers = mean.values[state, action]
            if np.isfinite(numbers).any():  # a smaller game has fewer states
                rows.append(names[state] if mean.sizes["action"] == 2 else f"{names[state]}: {action}")
                values.append(numbers)
    dims = [style.label_of(policy.iteration), "state"]
    present = int(policy.notnull().any(["iteration", "state", "action"]).sum())
    title = counted(setting.title, present, policy.sizes[SEED])
    if not rows:
        return style.overlay([style.texts([0.0], [0.0], ["no run is done"], dims)], title, size=_WIDER)
    updates = policy.iteration.values
    image = _image(np.array(values), dims, "probability", "cividis", (0.0, 1.0))
    ends = style.update_ticks(int(updates[0]), int(updates[-1]))
    ticks = [(int(np.abs(updates - tick).argmin()), text) for tick, text in ends]
    yticks = [(k, name) for k, name in enumerate(rows)]
    return style.overlay([image], title, xticks=ticks, yticks=yticks, invert_yaxis=True, size=_WIDER)


def _heat_map(values: NDArray[Any], rows: list[str], columns: list[str], x: str, z: str, title: str) -> Any:
    """A labelled map whose colours meet at 0."""
    most = float(np.nanmax(np.abs(values))) or 1.0
    written = values.size <= MOST_WRITTEN  # then numbers do, and the colours need no scale
    image = _image(values, [x, "game"], z, "PuOr_r", (-most, most), scale=not written)
    parts = [image]
    if written:
        places = [(i, j) for i in range(len(rows)) for j in range(len(columns))]
        words = ["–" if np.isnan(values[at]) else f"{values[at]:.2f}" for at in places]
        dark = np.array([abs(values[at]) > 0.6 * most for at in places])
        for some, colour in ((~dark, style.INK), (dark, "#FFFFFF")):
            if some.any():
                chosen = [(place, text) for place, text, is_in in zip(places, words, some, strict=True) if is_in]
                ys, xs = zip(*(place for place, _ in chosen), strict=True)
                parts.append(style.texts(xs, ys, [text for _, text in chosen], [x, "game"], colour=colour))
    size = {"width": min(1100, 220 + max(45 * len(columns), 120)), "height": min(1400, 130 + 26 * len(rows))}
    panel = style.overlay(
        parts,
        "",
        size=size,
        ylabel="",
        xticks=list(enumerate(columns)),
        yticks=list(enumerate(rows)),
        invert_yaxis=True,
        xrotation=45 if max(map(len, columns)) > 5 else 0,
    )
    return style.multiples([panel], title, panel=size)


def _image(
    values: NDArray[Any], dims: list[str], name: str, colours: str, limits: tuple[float, float], *, scale: bool = True
) -> Any:
    """Cells at whole numbers, [y, x]; grey where there is no number."""
    height, width = values.shape
    bounds = (-0.5, -0.5, width - 0.5, height - 0.5)  # given, for a single row has no distance to take them from
    image = hv.Image(values[::-1], dims, hv.Dimension(name, range=limits), bounds=bounds)
    both = {"cmap": colours, "clipping_colors": {"NaN": style.MISSING}, "colorbar": scale}
    return style.part(
        image,
        bokeh={**both, "colorbar_opts": {"width": 10}, "tools": ["hover"]},
        matplotlib={**both, "cbar_width": 0.03, "cbar_padding": 0.02},
    )


def _across(results: xr.Dataset, dims: list[str], over: str | None) -> str | None:
    """The axis across; None for the updates."""
    from stackpop.analysis.selection import dim_of

    if over is not None:
        return dim_of(results, over, "over")
    others = [dim for dim in dims if dim != "matrix" and results.sizes[dim] > 1]
    if "leader_lr" in others:
        return "leader_lr"
    return max(others, key=lambda dim: results.sizes[dim]) if others else None


def _tick(label: object) -> str:
    return f"{label:g}" if isinstance(label, float) else str(label)
