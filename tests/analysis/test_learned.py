"""What was learned: tables, their names and values, on small stores and beside what training itself recorded."""

from __future__ import annotations

import json
from pathlib import Path

import dask.array
import numpy as np
import pytest
import torch
import xarray as xr

from stackpop.analysis import equilibrium_distance, learned_tables, run_tables, strategy_name, table_values
from stackpop.equilibria import best_responses, pure_commitment
from stackpop.errors import StackpopError
from stackpop.games import MATRICES, Game, GameBatch, all_tables, table_returns
from stackpop.spec import parse_sweep, stored_run
from stackpop.store import ResultsWriter, open_results
from support import random_payoffs, trained_store

DILEMMA = MATRICES["prisoners_dilemma"]
JOINT, OPPONENT, NONE = Game(DILEMMA, "joint"), Game(DILEMMA, "opponent"), Game(DILEMMA, "none")

NAMES = {
    (JOINT, "00000"): "always cooperate",
    (JOINT, "00101"): "always cooperate",  # it never comes to the states after its own defection
    (JOINT, "11111"): "always defect",
    (JOINT, "11010"): "suspicious alternate",
    (JOINT, "00011"): "tit for tat",
    (JOINT, "10011"): "suspicious tit for tat",
    (JOINT, "00111"): "grim",
    (JOINT, "00110"): "win-stay lose-shift",
    (JOINT, "00010"): "firm but fair",
    (JOINT, "01100"): "reverse tit for tat",
    (JOINT, "11000"): "",
    (OPPONENT, "001"): "tit for tat",
    (OPPONENT, "101"): "suspicious tit for tat",
    (OPPONENT, "010"): "reverse tit for tat",
    (OPPONENT, "100"): "",
    (NONE, "0"): "always cooperate",
    (NONE, "1"): "always defect",
    (Game(random_payoffs(0, 3, 3), "none"), "2"): "always 2",
    (Game(random_payoffs(0, 3, 2), "opponent"), "222"): "always 2",
    (Game(random_payoffs(0, 3, 2), "opponent"), "201"): "",
}


@pytest.mark.parametrize(("case", "name"), NAMES.items(), ids=[f"{g.memory}-{t}" for g, t in NAMES])
def test_tables_have_the_names_of_the_literature(case: tuple[Game, str], name: str) -> None:
    game, table = case
    assert strategy_name(game, list(map(int, table))) == name


@pytest.mark.parametrize("game", [JOINT, OPPONENT], ids=["joint", "opponent"])
def test_tables_of_one_name_play_alike_and_of_two_names_do_not(game: Game) -> None:
    tables = all_tables(game.leader_states, 2)
    own = Game(random_payoffs(3), game.memory)
    returns = table_returns(
        GameBatch.of([own]), tables[None, :, None], all_tables(own.follower_states, 2)[None, None]
    )  # [1, leader, follower, player]
    played = {tuple(row.flatten().tolist()) for row in returns[0]}
    of_name: dict[str, set[tuple[float, ...]]] = {}
    for table, row in zip(tables.tolist(), returns[0], strict=True):
        if name := strategy_name(game, table):
            of_name.setdefault(name, set()).add(tuple(row.flatten().tolist()))
    assert all(len(ways) == 1 for ways in of_name.values())
    assert len(set.union(*of_name.values())) == len(of_name) <= len(played)


# A small store ------------------------------------------------------------------------------------------------------

TRAINING = """\
leader: {algorithm: pg, lr: 0.1, updates: 4, batch_steps: 20}
evaluation_episodes: 1
game: {rounds: 4}
"""
CONTEXTUAL = "follower: {oracle: contextual, updates: 3, post_updates: 0}\n"
GAMES = "{matrix: [prisoners_dilemma, chicken], game.memory: [opponent, joint], seed: [1, 2, 3]}"
SWEEPS = {
    "games": f"{TRAINING}{CONTEXTUAL}axes: {GAMES}\n",
    "query bit": f"{TRAINING}{CONTEXTUAL}matrix: chicken\naxes: {{query_bit: [false, true], seed: [1, 2, 3]}}\n",
    "oracles": f"{TRAINING}matrix: hero\naxes: {{follower.oracle: [contextual, exact, tabular_q], seed: [1, 2]}}\n",
}


def store(path: Path, text: str, left_out: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """Runs and followers of a store of a short sweep, trained here but for the last runs."""
    trained_store(path, parse_sweep(text, path.stem), left_out)
    return open_results(path), open_results(path, "followers")


@pytest.fixture(scope="module", params=SWEEPS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    """A store's runs, of which the last is missing, and its followers."""
    return store(tmp_path_factory.mktemp("learned") / "tiny.zarr", SWEEPS[request.param], left_out=1)


def parsed(text: str) -> torch.Tensor:
    return torch.tensor([[int(action) for action in text]])


def returns_of(game: Game, leader: str, follower: str) -> list[float]:
    """What both players earn when one table meets another."""
    return table_returns(GameBatch.of([game]), parsed(leader), parsed(follower))[0].tolist()  # type: ignore[no-any-return]


def test_tables_and_answers_earn_what_training_recorded(stored: tuple[xr.Dataset, xr.Dataset]) -> None:
    """The greedy return in the store is that of the leader's table against its follower's answer."""
    results, followers = stored
    found = run_tables(results, followers)
    assert ((found.table != "") == (results.status == 2)).all()
    settings, answered = json.loads(results.attrs["settings"]), 0
    for at in np.ndindex(*results.status.shape):
        place = dict(zip(results.status.dims, at, strict=True))
        run, row = results.isel(place), found.isel(place)
        table, response = row.table.item(), row.response.item()
        oracle = str(run.follower_oracle.item()) if "follower_oracle" in run.coords else "contextual"
        assert bool(response) == (bool(table) and oracle != "tabular_q")
        if response:
            game = stored_run(settings, {str(dim): run[dim].item() for dim in place}).to_game()
            played, shown = table.split("|")[0], table.split("|")[-1]
            assert float(run.leader_return_greedy[-1]) == pytest.approx(returns_of(game, played, response)[0])
            most = best_responses(game).follower_return[int(shown, 2)]
            assert row.best_responds.item() == (returns_of(game, shown, response)[1] > most - 1e-9)
            assert returns_of(game, shown, row.best_response.item())[1] == pytest.approx(most)
            answered += 1
    assert answered >= 3


def test_every_run_that_is_done_is_placed(stored: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, followers = stored
    done = int((results.status == 2).sum())
    for found in (learned_tables(results, followers), table_values(results, followers)):
        assert int(found.runs.sum()) == int(found.done.sum()) == done
        assert int(found.missing.sum()) == 1
        np.testing.assert_allclose(found.share.sum("table"), found.done > 0)
        assert (found.response_runs <= found.runs).all()
    often = learned_tables(results, followers).runs
    counts = often.sum([dim for dim in often.dims if dim != "table"]).values
    assert (counts > 0).all()
    assert (np.diff(counts) <= 0).all()


def test_values_are_exact_and_the_best_is_the_equilibrium(stored: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, _ = stored
    found = table_values(results)
    np.testing.assert_allclose(found.value.max("table"), results.equilibrium_pure)
    best = found.value.where(found.equilibrium == 1)
    np.testing.assert_allclose(best.max("table"), best.min("table"))
    assert ((found["rank"] == 1) == (found.equilibrium == 1)).all()
    assert (found.pessimistic <= found.value + 1e-9).where(found.value.notnull(), True).all()
    np.testing.assert_allclose(found.gap.min("table"), 0, atol=1e-9)


@pytest.fixture(scope="module")
def matrices(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    return store(tmp_path_factory.mktemp("learned") / "games.zarr", SWEEPS["games"])


def test_the_values_of_the_prisoners_dilemma_are_known(tmp_path: Path) -> None:
    """With ten rounds the one optimum is to defect once, then to play tit for tat; it earns 6."""
    path = tmp_path / "pd.zarr"
    with ResultsWriter(
        path,
        parse_sweep("matrix: prisoners_dilemma\nleader: {algorithm: pg, updates: 1}\naxes: {seed: [1, 2]}\n", "pd"),
    ):
        pass
    found = table_values(open_results(path))
    assert found.sizes == {"table": 32}
    assert (str(found.table.values[0]), found.value.values[0]) == ("10011", 6)
    assert found.table.values[found.equilibrium.values == 1].tolist() == ["10011"]
    tit_for_tat = found.sel(table="00011")
    assert (tit_for_tat.value.item(), tit_for_tat.best_response.item(), tit_for_tat["rank"].item()) == (5, "00000", 2)
    assert (int(found.done), int(found.missing), int(found.runs.sum())) == (0, 2, 0)
    assert learned_tables(open_results(path)).sizes["table"] == 0
    assert run_tables(open_results(path)).table.values.tolist() == ["", ""]


def test_a_part_that_keeps_its_labels_gives_the_same(matrices: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, followers = matrices
    whole = run_tables(results, followers)
    for part in ({"matrix": "chicken"}, {"matrix": ["chicken"], "seed": 3}, {"game_memory": "joint", "seed": [2, 1]}):
        found = run_tables(results.sel(part), followers)
        xr.testing.assert_identical(found, whole.sel(part).reset_coords(drop=True))
    assert learned_tables(results.sel(matrix="chicken", seed=1), followers).runs.sum() == 2
    one = run_tables(results.sel(matrix="chicken", game_memory="joint", seed=1), followers)
    assert one.table.item() == whole.table.sel(matrix="chicken", game_memory="joint", seed=1).item()
    assert learned_tables(results.sel(matrix="chicken", game_memory="joint", seed=1)).runs.values.tolist() == [1]


def test_the_update_can_be_chosen(matrices: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, _ = matrices
    xr.testing.assert_identical(run_tables(results), run_tables(results, iteration=4))
    first = run_tables(results, iteration=1).sel(game_memory="joint").table.values
    greedy = results.leader_policy.sel(iteration=1, game_memory="joint").argmax("action").values
    for at in np.ndindex(*first.shape):
        assert first[at] == "".join(map(str, greedy[at]))
    xr.testing.assert_identical(run_tables(results.sel(iteration=1)), run_tables(results, iteration=1))


def test_runs_of_unlike_length_are_taken_at_their_own_last_update(matrices: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, _ = matrices
    short = results.load().copy()
    ended = (short.seed == 2) & (short.iteration > 2)
    short["leader_policy"] = short.leader_policy.where(~ended)
    short["env_steps"] = short.env_steps.where(~ended, -1)
    found = run_tables(short)
    xr.testing.assert_identical(found.sel(seed=2), run_tables(results, iteration=2).sel(seed=2))
    xr.testing.assert_identical(found.sel(seed=3), run_tables(results).sel(seed=3))


def policies(tables: dict[str, list[list[float]]]) -> xr.Dataset:
    """Runs [matrix] with opponent memory and given chances of action 1 in each state, [iteration, state]."""
    chances = np.array(list(tables.values()), dtype=float)
    policy = np.stack([1 - chances, chances], -1)
    return xr.Dataset(
        {
            "leader_policy": (("matrix", "iteration", "state", "action"), policy),
            "status": ("matrix", [2] * len(tables)),
            "env_steps": (("matrix", "iteration"), np.ones(policy.shape[:2], dtype=int)),
        },
        {"matrix": list(tables), "iteration": range(1, policy.shape[1] + 1)},
        {"settings": '{"game.memory": "opponent", "game.rounds": 5}'},
    )


def test_distance_to_the_nearest_equilibrium_by_hand() -> None:
    game = Game(MATRICES["modified_prisoners_dilemma"], "opponent", 5)
    best = best_responses(game)
    tables = all_tables(3, 2)[torch.from_numpy(best.leader_optimistic >= pure_commitment(game).optimistic - 1e-9)]
    assert tables.tolist() == [[0, 0, 1]]  # the only one: so distances are to it
    found = equilibrium_distance(policies({"modified_prisoners_dilemma": [[0, 0, 1], [0.5, 0, 1], [0.3, 0.3, 0.4]]}))
    np.testing.assert_allclose(found, [[0, 0.5 / 3, 1.2 / 3]])


def test_any_equilibrium_will_do_and_games_are_told_apart() -> None:
    """In harmony every table that begins and goes on with 0 while the follower does is an equilibrium."""
    found = equilibrium_distance(
        policies({"harmony": [[0, 0, 0], [0, 0, 1]], "modified_prisoners_dilemma": [[0, 0, 0], [0, 0, 1]]})
    )
    np.testing.assert_allclose(found.sel(matrix="harmony"), [0, 0])
    np.testing.assert_allclose(found.sel(matrix="modified_prisoners_dilemma"), [1 / 3, 0])


def test_distance_agrees_with_the_gap_of_the_tables(matrices: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, _ = matrices
    ends = equilibrium_distance(results).isel(iteration=-1)
    greedy = run_tables(results)
    at_equilibrium = (greedy.gap < 1e-9).values
    # A policy whose likeliest actions are an equilibrium is nearer than one half in every state.
    assert (ends.values[at_equilibrium] <= 0.5).all()
    assert ends.dims == results.status.dims


def test_distance_is_lazy_and_missing_where_runs_are() -> None:
    part = policies({"harmony": [[0, 0, 0]], "chicken": [[0, 0, 1]]})
    part["status"] = ("matrix", [2, 3])

    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("read")

    lazy = part.chunk({"matrix": 1, "state": 2})
    np.testing.assert_array_equal(equilibrium_distance(lazy).load(), equilibrium_distance(part))
    np.testing.assert_array_equal(equilibrium_distance(part).isnull(), [[False], [True]])
    old = lazy.leader_policy
    forbidden = dask.array.map_blocks(read, old.data, dtype=float, meta=np.empty((0,) * 4))
    lazy["leader_policy"] = (old.dims, forbidden)
    found = equilibrium_distance(lazy)
    with pytest.raises(AssertionError, match="read"):
        found.load()


def test_a_game_too_large_to_solve_has_tables_without_values() -> None:
    part = policies({"large": [[0, 0, 1]]})
    settings = {"game.memory": "joint", "game.rounds": 40, "payoffs.large": random_payoffs(1, 4, 4)}
    policy = np.full((1, 1, 17, 4), 0.2)
    policy[..., 2] = 0.4
    part = part.drop_vars("leader_policy").assign(leader_policy=(("matrix", "iteration", "state", "action"), policy))
    part.attrs["settings"] = json.dumps(settings)
    for found in (learned_tables(part), table_values(part)):
        assert found.table.values.tolist() == ["2" * 17]
        assert (found.runs.item(), found.name.item(), found.best_response.item()) == (1, "always 2", "")
        assert found.value.isnull().all()
    assert equilibrium_distance(part).isnull().all()


def test_payoffs_that_overflow_have_no_values() -> None:
    part = policies({"huge": [[0, 0, 1]]})
    part.attrs["settings"] = part.attrs["settings"].replace(
        "{", '{"payoffs.huge": [[[1e308, 1], [-1e308, 2]], [[1e308, 3], [1e308, 4]]], ', 1
    )
    assert table_values(part).value.isnull().all()
    assert equilibrium_distance(part).isnull().all()


MISTAKES = {
    "attributes": (lambda r: r.drop_attrs(), {}, "results: expected the store's attributes, got none; take it from"),
    "matrix": (lambda r: r.isel(matrix=0, drop=True), {}, "results: expected labels of the matrix, got none; choose"),
    "policy": (lambda r: r.drop_vars("leader_policy"), {}, "results: expected the variable 'leader_policy', got none"),
    "update": (lambda r: r, {"iteration": 9}, "iteration: expected an update from 1 to 2, got 9; leave it out"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "options", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(change, options, line) -> None:  # type: ignore[no-untyped-def]
    part = change(policies({"harmony": [[0, 0, 0], [0, 0, 1]]}))
    with pytest.raises(StackpopError, match=f"^{line}") as caught:
        learned_tables(part, **options)
    assert "\n" not in str(caught.value)


def test_followers_of_other_runs_answer_nothing(matrices: tuple[xr.Dataset, xr.Dataset]) -> None:
    results, followers = matrices
    found = run_tables(results, followers.sel(seed=[1, 2]))
    assert (found.response == "").values.tolist() == [[[False, False, True]] * 2] * 2
    assert np.isnan(found.best_responds.sel(seed=3)).all()
    alone = run_tables(results)
    assert (alone.response == "").all()
    assert (alone.table != "").all()
