"""Maps, times, policies, planes and comparisons draw what the data say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import labelled, panels, title_of
from stackpop.analysis import compare, state_names, table_pairs
from stackpop.equilibria import pure_commitment
from stackpop.figures import comparison, convergence_times, gap_map, leader_policy, payoff_plane
from stackpop.games import MATRICES, Game
from stackpop.store import Status
from support import random_payoffs


def test_the_gap_map_shows_the_mean_gap_of_each_cell(results: xr.Dataset) -> None:
    (panel,) = panels(gap_map(results))
    image = next(part for part in panel if type(part).__name__ == "Image")
    drawn = image.dimension_values(2, flat=False)
    expected = results.equilibrium_gap.mean("iteration").mean("seed").transpose("matrix", "leader_lr").values
    assert np.sort(drawn.ravel()) == pytest.approx(np.sort(expected.ravel()), abs=1e-6)
    written = {word for part in panel if type(part).__name__ == "Labels" for word in part.dimension_values(2)}
    assert written == {f"{value:.2f}" for value in expected.ravel()}
    (over_updates,) = panels(gap_map(results.isel(leader_lr=0)))
    assert over_updates.opts.get("plot", backend="bokeh").kwargs["xticks"] == [(0, "1"), (1, "2"), (2, "3"), (3, "4")]


def test_convergence_times_count_those_that_never_converge(results: xr.Dataset) -> None:
    near = results.assign(equilibrium_gap=xr.zeros_like(results.equilibrium_gap).where(results.seed == 1, 5.0))
    near["equilibrium_gap"] = near.equilibrium_gap.where(results.status == Status.DONE)
    figure = convergence_times(near, window=1)
    (words,) = [part for part in figure if type(part).__name__ == "Labels"]
    assert words.dimension_values(2).tolist() == ["converged", "1/2", "1/2", "1/2", "1/1"]
    points = [part for part in figure if type(part).__name__ == "Points"]
    steps = np.concatenate([part.dimension_values(0) for part in points])
    first = near.env_steps.isel(iteration=0).sel(seed=1).values
    assert set(steps) == set(first.ravel())


def test_the_policy_is_shown_by_state(results: xr.Dataset) -> None:
    (first, *_) = panels(leader_policy(results))
    (image,) = list(first)
    assert first.opts.get("plot", backend="bokeh").kwargs["yticks"] == [(0, "start"), (1, "0"), (2, "1")]
    expected = results.leader_policy.isel(matrix=0, leader_lr=0, action=1).mean("seed").values.T
    drawn = image.dimension_values(2, flat=False)
    assert sorted(drawn.ravel()) == pytest.approx(sorted(expected.ravel()), abs=1e-6)


def test_states_are_named_by_what_is_remembered(results: xr.Dataset) -> None:
    one = results.isel(matrix=0)
    assert state_names(one, 3) == ["start", "0", "1"]
    assert state_names(one, 6)[3:] == ["query start", "query 0", "query 1"]
    joint = one.assign_attrs(settings=one.attrs["settings"].replace("opponent", "joint"))
    assert state_names(joint, 5) == ["start", "(0,0)", "(1,0)", "(0,1)", "(1,1)"]


def test_the_payoff_plane_ends_where_the_runs_end(results: xr.Dataset) -> None:
    (chicken, battle) = panels(payoff_plane(results))
    assert (title_of(chicken), title_of(battle)) == ("chicken", "battle (3 of 4 runs)")
    ends = labelled(chicken, "ends of runs")
    last = results.isel(matrix=0, iteration=-1)
    assert sorted(ends.dimension_values(0)) == pytest.approx(sorted(last.leader_return.values.ravel()))
    best = labelled(chicken, "Stackelberg")
    assert set(best.dimension_values(0)) == {float(results.equilibrium_pure[0])}


games = st.builds(
    lambda seed, rows, columns, memory, rounds: Game(random_payoffs(seed, rows, columns), memory, rounds),
    st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3), st.sampled_from(["none", "opponent"]),
    st.integers(1, 3),
)  # fmt: skip


@given(games)
@settings(max_examples=30)
def test_all_pairs_lie_within_the_hull_and_the_leader_likes_its_commitment_best(game: Game) -> None:
    pairs = table_pairs(game)
    assert pairs.stackelberg[:, 0] == pytest.approx(pure_commitment(game).optimistic)
    if len(pairs.nash):
        assert pairs.nash[:, 0].max() <= pairs.stackelberg[0, 0] + 1e-9
    outcomes = {tuple(point) for point in pairs.outcomes.tolist()}
    assert {tuple(point) for point in [*pairs.nash.tolist(), *pairs.stackelberg.tolist()]} <= outcomes
    for start, end in zip(pairs.hull, np.roll(pairs.hull, -1, 0), strict=True) if len(pairs.hull) > 2 else ():
        aside = pairs.outcomes - start
        assert ((end - start)[0] * aside[:, 1] - (end - start)[1] * aside[:, 0] >= -1e-7).all()


def test_nash_points_of_a_known_game() -> None:
    dilemma = Game(MATRICES["prisoners_dilemma"], "none", 1, 0)
    pairs = table_pairs(dilemma)
    assert pairs.nash.tolist() == [[2, 2]]
    assert pairs.stackelberg.tolist() == [[2, 2]]
    assert pairs.hull.tolist() == [[1, 4], [2, 2], [4, 1], [3, 3]]
    assert table_pairs(Game(random_payoffs(0, 4, 4), "joint")).outcomes.size == 0  # too many to play


def test_a_comparison_shows_what_compare_says(results: xr.Dataset) -> None:
    pairs, forest = panels(comparison(results, "leader.lr"))
    expected = compare(results, "leader.lr").isel(pair=0)
    pooled = compare(results, "leader.lr", pooled=True).isel(pair=0)
    means = [float(part.dimension_values(0)[0]) for part in forest if type(part).__name__ == "Points"]
    assert means == pytest.approx([*expected.difference.values, float(pooled.difference)])
    assert forest.opts.get("plot", backend="bokeh").kwargs["yticks"] == [(0, "chicken"), (1, "battle"), (2, "all")]
    assert sum(len(part) for part in pairs if type(part).__name__ == "Points") == 3
