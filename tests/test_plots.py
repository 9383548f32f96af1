"""Figures of a small dataset: they draw what the data say, and are written as files."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stackpop.errors import StackpopError
from stackpop.plots import learning_curves, save

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
