"""The payoff plane: what both players earn, what they could, and the way that runs take through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.analysis import games_of, table_pairs
from stackpop.figures import style
from stackpop.figures.parts import Setting, counted, drawn_updates, setting_dims, settings_of, whole
from stackpop.games import Game
from stackpop.store import Status

MOST_PATHS = 10  # a panel, of its first runs; the ends of all are drawn
MOST_OUTCOMES = 2000
PATH_UPDATES = 40
_BREAK = np.full((1, 2), np.nan)  # between two paths of one line, which is drawn faster than many lines are
_SQUARE = {"width": 310, "height": 280}


def payoff_plane(results: xr.Dataset) -> Any:
    """Small multiples, one panel a game: the leader's return across, the follower's up.

    Grey dots are the returns of all pairs of deterministic tables, the outline what any play can give. Black diamonds
    are Nash equilibria in tables, orange stars the Stackelberg equilibria. Lines in the game's colour are the paths of
    runs over training (of ten at most), rings their ends. Where the game depends on other axes than the matrix, each
    combination has its panel.

    Raises:
        StackpopError: no run is done, or more than 24 games.
    """
    results = whole(results, "leader_return", "follower_return")
    games = games_of(results)
    settings = settings_of(results, games.dims)
    last = results.sizes["iteration"] - 1
    places = drawn_updates(last + 1)
    places = np.unique(places[np.linspace(0, len(places) - 1, PATH_UPDATES).round().astype(int)])
    curves = results[["leader_return", "follower_return"]].isel(iteration=places).reset_coords(drop=True)
    curves = curves.where(results.status == Status.DONE).load()
    panels = [
        _panel(curves.isel(setting.at), results, games.of[tuple(setting.at[dim] for dim in games.dims)], setting, not k)
        for k, setting in enumerate(settings)
    ]
    others = [dim for dim in setting_dims(results) if dim not in games.dims]
    runs = f", runs of all {', '.join(others)}" if others else ""
    title = style.title_of(results, f"returns of both players over training{runs}")
    return style.multiples(panels, title, columns=3, panel=_SQUARE)


def _panel(curves: xr.Dataset, results: xr.Dataset, game: Game, setting: Setting, first: bool) -> Any:
    axes = [style.label_of(results[name]) for name in ("leader_return", "follower_return")]
    pairs = table_pairs(game)
    outline = np.concatenate([pairs.hull, pairs.hull[:1]])
    parts = [style.line(outline[:, 0], outline[:, 1], axes, style.INK, width=1.0, alpha=0.5)]
    if len(pairs.outcomes):
        step = -(-len(pairs.outcomes) // MOST_OUTCOMES)
        parts.append(
            style.points(*_across_and_up(pairs.outcomes[::step]), axes, style.PALE, size=2.5, label="table pairs")
        )
    colour = style.game_colour(setting.game)
    runs = curves.stack(run=[dim for dim in curves.leader_return.dims if dim != "iteration"], create_index=False)
    x, y = (runs[name].transpose("run", "iteration").values for name in ("leader_return", "follower_return"))
    present = np.isfinite(x) & np.isfinite(y)
    some = np.flatnonzero(present.any(1))
    paths = [np.stack([x[k][present[k]], y[k][present[k]]], 1) for k in some[:MOST_PATHS]]
    if paths:
        way = np.concatenate([part for path in paths for part in (path, _BREAK)])
        parts.append(style.line(*_across_and_up(way), axes, colour, width=1.2, alpha=0.7))
    if len(pairs.nash):
        parts.append(style.points(*_across_and_up(pairs.nash), axes, style.INK, marker="diamond", size=6, label="Nash"))
    if len(pairs.stackelberg):
        parts.append(
            style.points(
                *_across_and_up(pairs.stackelberg), axes, style.ACCENT, marker="star", size=14, label="Stackelberg"
            )
        )
    if len(some):
        last = present.shape[1] - 1 - present[some][:, ::-1].argmax(1)
        ends = x[some, last], y[some, last]
        alpha = 1.0 if len(some) <= 30 else 0.4
        parts.append(style.points(*ends, axes, colour, size=9, alpha=alpha, label="ends of runs", hollow=True))
    title = counted(setting.title, len(some), len(x))
    across, up = style.limits(outline[:, 0]), style.limits(outline[:, 1])
    return style.overlay(parts, title, legend="bottom_left" if first else None, xlim=across, ylim=up, size=_SQUARE)


def _across_and_up(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return points[:, 0], points[:, 1]
