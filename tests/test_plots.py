"""Figures of a small dataset: they draw what the data say, and are written as files."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stackpop.errors import StackpopError
from stackpop.plots import learning_curves, save, searched_values

UPDATES = 40


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    """Two games, three seeds: returns rise to the exact value of each."""
    dims = ("matrix", "seed", "iteration")
    rise = 1 - np.exp(-np.arange(UPDATES) / 10)
    returns = np.array([6.0, 15.0])[:, None, None] * rise * np.array([0.9, 1.0, 1.1])[:, None]
    return xr.Dataset(
        {"leader_return": (dims, returns), "leader_return_greedy": (dims, returns + 1)},
        {
            "matrix": ["prisoners_dilemma", "stag_hunt"],
            "seed": [1, 2, 3],
            "iteration": range(1, UPDATES + 1),
            "equilibrium_pure": ("matrix", [6.0, 15.0]),
        },
    )


def test_learning_curves_has_a_panel_a_game_with_mean_band_and_exact_value(results: xr.Dataset) -> None:
    figure = learning_curves(results)
    titles = [panel.opts.get("plot").kwargs["title"] for panel in figure]
    assert titles == ["prisoners_dilemma", "stag_hunt"]
    band, greedy, mean, exact = figure[0, 0]
    at_end = results.leader_return.isel(matrix=0, iteration=-1)
    assert mean.data.iloc[-1]["leader_return"] == pytest.approx(float(at_end.mean()))
    assert greedy.data.iloc[-1]["leader_return_greedy"] == pytest.approx(float(at_end.mean()) + 1)
    assert band.dimension_values("low")[-1] < at_end.mean() < band.dimension_values("high")[-1]
    assert exact.data == 6.0


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_save_writes_the_format_of_the_ending(results: xr.Dataset, tmp_path: Path, ending: str, start: bytes) -> None:
    file = tmp_path / f"curves.{ending}"
    save(learning_curves(results), file)
    assert file.read_bytes().startswith(start)


def test_other_axes_are_one_clear_sentence(results: xr.Dataset) -> None:
    with pytest.raises(StackpopError, match=r"matrix, seed, iteration, got leader_lr, matrix.*; choose one value"):
        learning_curves(results.expand_dims("leader_lr"))
    with pytest.raises(StackpopError, match=r"got seed, iteration; .*expand_dims"):
        learning_curves(results.isel(matrix=0))


@pytest.fixture(scope="module")
def search() -> xr.Dataset:
    """Three trials of a search over a rate and a size, three seeds; one run of the last trial is missing."""
    returns = np.array([1.0, 5.0, 9.0])[:, None, None] + np.array([-1.0, 0.0, 1.0])[:, None] + np.zeros(UPDATES)
    return xr.Dataset(
        {
            "leader_return_sampled": (("trial", "seed", "iteration"), np.where(returns < 10, returns, np.nan)),
            "status": (("trial", "seed"), np.where(returns[..., 0] < 10, 2, 0)),
        },
        {
            "trial": [0, 1, 2],
            "seed": [1, 2, 3],
            "iteration": range(1, UPDATES + 1),
            "leader_lr": ("trial", [1e-4, 1e-2, 1.0]),
            "leader_epochs": ("trial", [10.0, 20, 30]),
        },
    )


def test_searched_values_shows_each_whole_trial_the_best_one_and_the_reference(search: xr.Dataset) -> None:
    figure = searched_values(search, reference={"leader_lr": 0.008})
    assert [panel.opts.get("plot").kwargs["logx"] for panel in figure] == [True, False]
    bars, points, best, reference = figure[0, 0]
    assert list(zip(*(points.dimension_values(k) for k in (0, 1)), strict=True)) == [(0.01, 5), (0.0001, 1)]
    assert (best.dimension_values(0), best.dimension_values(1)) == ([0.01], [5])
    assert (bars.dimension_values(2) > 0).all()
    assert reference.data == 0.008
    assert len(figure[0, 1]) == 3  # nothing to compare with


def test_results_without_trials_are_one_clear_sentence(results: xr.Dataset, search: xr.Dataset) -> None:
    status = results.leader_return.isel(iteration=0) * 0 + 2
    with pytest.raises(StackpopError, match=r"expected the dim trial, got matrix, seed; draw `learning_curves`"):
        searched_values(results.assign(status=status))
    with pytest.raises(StackpopError, match=r"expected a trial that is done, got none; "):
        searched_values(search.isel(trial=[2]))
