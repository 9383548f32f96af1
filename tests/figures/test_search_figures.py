"""Figures of searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import SWEEP, panels, title_of
from stackpop.analysis import best_trials
from stackpop.errors import StackpopError
from stackpop.figures import Request, draw, searched_values
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter


@pytest.fixture(scope="module")
def search() -> xr.Dataset:
    """Three trials of a search over a rate and a size, three seeds; one run of the last trial is missing."""
    returns = np.array([1.0, 5.0, 9.0])[:, None, None] + np.array([-1.0, 0.0, 1.0])[:, None] + np.zeros(40)
    return xr.Dataset(
        {
            "leader_return_sampled": (("trial", "seed", "iteration"), np.where(returns < 10, returns, np.nan)),
            "status": (("trial", "seed"), np.where(returns[..., 0] < 10, 2, 0)),
        },
        {
            "trial": [0, 1, 2],
            "seed": [1, 2, 3],
            "iteration": range(1, 41),
            "leader_lr": ("trial", [1e-4, 1e-2, 1.0]),
            "leader_epochs": ("trial", [10.0, 20, 30]),
        },
    )


def test_searched_values_shows_each_whole_trial_the_best_one_and_the_reference(search: xr.Dataset) -> None:
    rate, size = panels(searched_values(search, reference={"leader_lr": 0.008}))
    assert [panel.opts.get("plot", backend="bokeh").kwargs["logx"] for panel in (rate, size)] == [True, False]
    bars, points, best, reference = rate
    assert list(zip(*(points.dimension_values(k) for k in (0, 1)), strict=True)) == [(0.01, 5), (0.0001, 1)]
    assert (best.dimension_values(0), best.dimension_values(1)) == ([0.01], [5])
    assert bars.dimension_values(2) == pytest.approx(5 - best_trials(search).low[:2].values - [0, 4])
    assert reference.data == 0.008
    assert len(size) == 3  # nothing to compare with


def test_results_without_whole_trials_are_one_clear_sentence(search: xr.Dataset) -> None:
    with pytest.raises(StackpopError, match=r"expected a trial that is done, got none; "):
        searched_values(search.isel(trial=[2]))


def test_a_search_of_few_trials_has_curves_by_trial(tmp_path: Path) -> None:
    text = "search: {method: random, trials: 2, space: {leader.lr: {low: 0.1, high: 0.2}}}\naxes: {seed: [1]}\n"
    spec = parse_sweep(f"{SWEEP.replace('updates: 4', 'updates: 2')}matrix: chicken\n{text}", "tried")
    with ResultsWriter(tmp_path / "t.zarr", spec) as writer:
        for index in spec.indices():
            writer.leaders.record(index, TrainingResult({"leader_return": np.ones(2, dtype=np.float32)}))
    found = panels(draw("curves", Request(str(tmp_path / "t.zarr"))))
    assert [title_of(panel) for panel in found] == ["trial=0", "trial=1"]
