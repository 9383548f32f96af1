"""Learning curves show means, intervals and exact values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import labelled, panels, title_of
from stackpop.figures import follower_regret, learning_curves
from stackpop.store import open_results


def test_learning_curves_have_a_panel_a_setting_with_mean_interval_and_exact_values(results: xr.Dataset) -> None:
    first, *_, last = panels(learning_curves(results))
    assert title_of(first) == "chicken\nleader.lr=0.1"
    assert title_of(last) == "battle\nleader.lr=0.2 (1 of 2 runs)"
    part = results.isel(matrix=0, leader_lr=0)
    curve = labelled(first, "stochastic")
    assert curve.dimension_values(1) == pytest.approx(part.leader_return.mean("seed").values)
    assert curve.dimension_values(0).tolist() == [1, 2, 3, 4]
    exact = {"pure": "pure", "protocol": "resample", "behavioural": "behavioural"}
    for label, name in exact.items():
        assert set(labelled(first, label).dimension_values(1)) == {float(part[f"equilibrium_{name}"])}
    looks = [labelled(first, label).opts.get("style", backend="bokeh").kwargs for label in exact]
    assert len({(look["line_dash"], look["line_width"]) for look in looks}) == 3
    band = next(part for part in first if type(part).__name__ == "Area")
    low, high = band.dimension_values(1), band.dimension_values(2)
    assert (low <= curve.dimension_values(1) + 1e-6).all()
    assert (high >= curve.dimension_values(1) - 1e-6).all()
    assert not [part for part in last if type(part).__name__ == "Area"]  # one run has no interval


def test_axes_say_what_the_attributes_say(results: xr.Dataset) -> None:
    (first, *_) = panels(learning_curves(results))
    assert [str(dim.label) for dim in labelled(first, "greedy").dimensions()] == [
        "leader update",
        "leader return (payoff)",
    ]


def test_more_than_24_settings_are_pooled_by_game(results: xr.Dataset) -> None:
    many = results.isel(leader_lr=[0, 1] * 7).assign_coords(leader_lr=np.arange(14) / 10)
    found = panels(learning_curves(many))
    assert [title_of(panel) for panel in found] == ["chicken", "battle (21 of 28 runs)"]
    median = labelled(found[0], "stochastic").dimension_values(1)
    expected = results.leader_return.isel(matrix=0).median(["leader_lr", "seed"]).values
    assert median == pytest.approx(expected)


def test_follower_regret_goes_on_after_an_early_stop(store: Path) -> None:
    followers = open_results(store, "followers").load()
    regret = followers.follower_regret_worst
    stopped = followers.assign(follower_regret_worst=regret.where(followers.follower_iteration <= 2))
    (panel, *_) = panels(follower_regret(stopped))
    values = labelled(panel, "stochastic").dimension_values(1)
    assert values.tolist() == [values[0], *[values[1]] * 3]
    assert values[1] == pytest.approx(float(regret.isel(matrix=0).sel(follower_iteration=2).mean()))
