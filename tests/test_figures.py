"""Figures of small results: they draw what the data say, of whatever is there, and are written as files."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpop import figures
from stackpop.analysis import best_trials, compare, state_names, table_pairs
from stackpop.equilibria import pure_commitment
from stackpop.errors import StackpopError
from stackpop.figures import (
    PALETTE,
    Request,
    comparison,
    convergence_times,
    draw,
    follower_regret,
    game_colour,
    gap_map,
    leader_policy,
    learning_curves,
    payoff_plane,
    save,
    searched_values,
)
from stackpop.games import CANONICAL, MATRICES, Game
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter, Status, open_results
from support import random_payoffs, trained_store

SWEEP = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 0}
evaluation_episodes: 2
"""
GRID = "axes: {matrix: [chicken, battle], leader.lr: [0.1, 0.2], seed: [1, 2]}"
KINDS = sorted(set(figures.KINDS) - {"search"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two games, two rates, two seeds; the last run is missing."""
    return trained_store(tmp_path_factory.mktemp("figures") / "s.zarr", parse_sweep(SWEEP + GRID, "s"), left_out=1)


@pytest.fixture
def results(store: Path) -> xr.Dataset:
    return open_results(store)


def panels(figure: Any) -> list[Any]:
    return list(figure) if hasattr(figure, "cols") else [figure]


def title_of(panel: Any) -> str:
    return str(panel.opts.get("plot", backend="bokeh").kwargs["title"])


def labelled(panel: Any, label: str) -> Any:
    (found,) = [part for part in panel if part.label == label]
    return found


# --- learning curves --------------------------------------------------------------------------------------------------


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


# --- the other figures ------------------------------------------------------------------------------------------------


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
@settings(max_examples=30, deadline=None)
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


# --- whatever the results are like ------------------------------------------------------------------------------------


PARTS = {
    "one seed": lambda results: results.isel(seed=[0]),
    "one seed alone": lambda results: results.isel(seed=0),
    "one matrix": lambda results: results.isel(matrix=0),
    "one run": lambda results: results.isel(matrix=0, seed=0, leader_lr=0),
    "only failed": lambda results: results.assign(status=results.status * 0 + Status.FAILED),
    "not a number": lambda results: results.assign(
        {name: values * np.nan for name, values in results.data_vars.items() if values.dtype.kind == "f"}
    ),
    "one run is no number": lambda results: results.assign(
        {
            name: values.where((results.seed == 1) | (results.matrix == "battle"))
            for name, values in results.data_vars.items()
            if values.dtype.kind == "f"
        }
    ),
}
DRAWINGS = {
    "curves": learning_curves,
    "gap": gap_map,
    "convergence": convergence_times,
    "policy": leader_policy,
    "plane": payoff_plane,
    "compare": lambda results: comparison(results, "leader.lr"),
}

WITHOUT_FIGURE = [
    ("compare", "one run"), ("compare", "not a number"), ("curves", "not a number"), ("gap", "not a number"),
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", DRAWINGS)
def test_any_results_give_a_figure_or_one_sentence(results: xr.Dataset, tmp_path: Path, kind: str, part: str) -> None:
    chosen = PARTS[part](results)
    if part == "only failed" or (kind, part) in WITHOUT_FIGURE:
        with pytest.raises(StackpopError, match=r"^[^\n]*expected [^\n]*, got [^\n]*$"):
            DRAWINGS[kind](chosen)
    else:
        save(DRAWINGS[kind](chosen), tmp_path / "figure.html")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_of_a_store(store: Path, tmp_path: Path, kind: str) -> None:
    figure = draw(kind, Request(str(store), "leader.lr" if kind in ("compare", "gap") else None))
    save(figure, tmp_path / "new" / "figure.html")
    page = (tmp_path / "new" / "figure.html").read_text()
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "embed_item" in page


def test_requests_choose_runs(store: Path) -> None:
    assert len(panels(draw("curves", Request(str(store), where={"leader.lr": ["0.2"]})))) == 2
    assert len(panels(draw("regret", Request(str(store), where={"leader.lr": ["0.2"], "matrix": ["battle"]})))) == 1
    with pytest.raises(StackpopError, match="KIND: expected a figure, got 'curve'; did you mean 'curves'"):
        draw("curve", Request(str(store)))
    with pytest.raises(StackpopError, match=r"--over: expected an axis, got none; for instance --over leader\.lr"):
        draw("compare", Request(str(store)))
    with pytest.raises(StackpopError, match="expected the dim trial, got matrix, leader_lr, seed"):
        draw("search", Request(str(store)))


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_save_writes_the_format_of_the_ending(store: Path, tmp_path: Path, ending: str, start: bytes) -> None:
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file in files:
        save(draw("gap", Request(str(store))), file)
    assert files[0].read_bytes().startswith(start)


def test_files_that_cannot_be_written_are_one_sentence(
    results: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = gap_map(results)
    with pytest.raises(StackpopError, match=r"ends in .html, .png or .svg, got '.*a.pdf'"):
        save(figure, tmp_path / "a.pdf")
    (tmp_path / "file").touch()
    with pytest.raises(StackpopError, match="expected a file to write, got"):
        save(figure, tmp_path / "file" / "a.html")
    monkeypatch.setattr("stackpop.figures.style.has_matplotlib", lambda: False)
    with pytest.raises(StackpopError, match=r"Matplotlib for .png, got none; pip install 'stackpop\[plots\]'"):
        save(figure, tmp_path / "a.png")


def test_names_are_escaped(results: xr.Dataset, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    one = results.isel(matrix=[0]).assign_coords(matrix=[evil]).assign_attrs(name=evil)
    save(learning_curves(one), tmp_path / "a.html")
    assert evil not in (tmp_path / "a.html").read_text()


# --- searches ---------------------------------------------------------------------------------------------------------


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


# --- colours ----------------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009), for a
# severity of 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as an eye sees it."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.clip(seen @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    scaled = to_xyz @ linear / [0.95047, 1, 1.08883]
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_the_twelve_games_have_colours_that_all_eyes_tell_apart(vision: str) -> None:
    seen = {name: lab(game_colour(name), VISION[vision]) for name in CANONICAL}
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen.values(), 2)) > 25
    assert max(colour[0] for colour in seen.values()) < 80  # on white


def test_a_game_has_one_colour_wherever_it_is(results: xr.Dataset) -> None:
    assert game_colour("chicken") != game_colour("battle")
    assert game_colour("my own") in PALETTE
    shown = panels(learning_curves(results.isel(leader_lr=0)))
    one = panels(learning_curves(results.isel(matrix=1, leader_lr=0)))
    for panel, name in zip([*shown, *one], ["chicken", "battle", "battle"], strict=True):
        assert labelled(panel, "stochastic").opts.get("style", backend="bokeh").kwargs["color"] == game_colour(name)
