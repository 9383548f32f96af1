"""What a sweep is: its dims, sizes, runs and settings."""

from __future__ import annotations

import json
import time
import tracemalloc

from stackpop.games import CANONICAL, Game
from stackpop.learners.contextual import ContextualSettings
from stackpop.learners.pg import PGSettings
from stackpop.learners.ppo import PPOSettings
from stackpop.spec import RunSpec, parse_sweep
from sweep_texts import SWEEP, THREE_BY_THREE, hero


def test_dims_labels_and_runs_follow_the_axes() -> None:
    sweep = parse_sweep(SWEEP, "s")
    post, lr = "follower_post_updates", "follower_lr"
    assert sweep.dims == ("matrix", "leader_updates", post, lr, "game_rounds", "seed")
    assert sweep.shape == (2, 3, 2, 2, 2, 2)
    assert sweep.size == len(list(sweep.indices())) == 96
    assert sweep.labels["leader_updates"] == (10, 30, 20)
    assert sweep.game_dims == ("matrix", "game_rounds")
    assert sweep.follower_dims == ("matrix", lr, "game_rounds", "seed")
    run = sweep.run((1, 2, 1, 0, 0, 1))
    assert (run.matrix, run.leader.updates, run.game.rounds, run.seed) == ("wide", 20, 5, 2)
    assert run.follower == ContextualSettings(lr=0.1, post_updates=5)
    assert run.to_game() == Game(sweep.games["wide"], "opponent", 5, -2.5)


def test_sizes_are_the_largest_over_the_axes() -> None:
    sweep = parse_sweep(SWEEP, "s")  # wide: 2 x 3 actions, so 1 + 3 leader states and 1 + 2 follower states
    assert sweep.leader_sizes == {"iteration": 30, "post_iteration": 5, "state": 4, "action": 2}
    assert sweep.follower_sizes == {"iteration": 500, "context": 2**4, "state": 3, "action": 3, "parameter": 0}
    exact = parse_sweep("matrix: hero\nfollower: {oracle: exact}\naxes: {game.memory: [none, joint]}", "s")
    assert exact.leader_sizes == {"iteration": 500, "post_iteration": 0, "state": 5, "action": 2}
    assert exact.follower_sizes == {"iteration": 0, "context": 32, "state": 5, "action": 2, "parameter": 0}


def test_networks_are_settings_as_any_other() -> None:
    text = f"""\
payoffs: {{big: {THREE_BY_THREE}}}
matrix: big
leader: {{algorithm: pg, hidden: [16]}}
follower: {{network: mlp, hidden: [7, 5]}}
axes: {{leader.network: [mlp, table]}}
"""
    sweep = parse_sweep(text, "s")
    assert parse_sweep(sweep.to_yaml(), "s") == sweep
    run, other = sweep.run((0,)), sweep.run((1,))
    assert RunSpec.from_yaml(run.to_yaml()) == run
    assert (run.leader.hidden_sizes, other.leader.hidden_sizes) == ((16,), ())
    assert run.follower.hidden_sizes == (7, 5)
    assert run.pack_key != other.pack_key
    assert run.run_id != other.run_id
    assert sweep.fixed["follower.hidden"] == (7, 5)
    parameters = (30 + 1) * 7 + (7 + 1) * 5 + (5 + 1) * 30
    assert sweep.follower_sizes == {"iteration": 500, "context": 0, "state": 10, "action": 3, "parameter": parameters}
    assert parse_sweep("matrix: hero\nleader: {network: mlp}", "s").run(()).leader.hidden_sizes == (64, 64)


def test_networks_left_out_change_neither_ids_nor_what_stores_compare() -> None:
    sweep = parse_sweep("matrix: hero", "s")
    assert not [name for name in sweep.fixed if name.endswith((".network", ".hidden"))]
    assert sweep.run(()).run_id == parse_sweep("matrix: hero\nleader: {network: table}", "s").run(()).run_id
    assert sweep.run(()).run_id != parse_sweep("matrix: hero\nleader: {network: mlp}", "s").run(()).run_id
    assert parse_sweep("matrix: hero\nfollower: {network: mlp}", "s").fixed["follower.network"] == "mlp"


def test_fixed_has_every_setting_that_is_no_axis() -> None:
    fixed = parse_sweep(SWEEP, "s").fixed
    assert fixed["payoffs.wide"] == [[[1, 2], [3, 4], [5, 6]]] * 2
    assert fixed["game.memory"] == "opponent"
    assert fixed["leader.value_clip"] is None
    assert {"matrix", "leader.updates", "game.rounds", "seed", "name", "description"}.isdisjoint(fixed)
    assert parse_sweep("matrix: hero", "s").fixed["matrix"] == "hero"
    assert json.loads(json.dumps(fixed)) == fixed


def test_an_axis_may_choose_the_algorithm_and_its_defaults() -> None:
    sweep = parse_sweep("matrix: hero\nleader: {updates: 7}\naxes: {leader.algorithm: [pg, ppo]}", "s")
    assert [sweep.run(index).leader for index in sweep.indices()] == [PGSettings(updates=7), PPOSettings(updates=7)]
    assert sweep.fixed["leader[pg].batch_steps"] == 100
    assert sweep.fixed["leader[ppo].batch_steps"] == 1000
    assert sweep.leader_sizes["iteration"] == 7
    assert parse_sweep(sweep.text, "other") == sweep


def test_without_axes_there_is_one_run() -> None:
    sweep = parse_sweep("matrix: hero", "s")
    assert (sweep.dims, sweep.shape, sweep.size, list(sweep.indices())) == ((), (), 1, [()])
    assert sweep.run(()) == hero()


def test_segments_are_no_setting_of_any_run() -> None:
    text = "matrix: chicken\naxes: {seed: [1, 2]}\n"
    whole, cut = parse_sweep(text, "x"), parse_sweep(text + "segment: 20\n", "x")
    assert (whole.segment, cut.segment) == (None, 20)
    assert [whole.run(at) for at in whole.indices()] == [cut.run(at) for at in cut.indices()]
    assert whole.fixed == cut.fixed
    assert parse_sweep(cut.text, "x") == cut
    assert "segment" not in whole.text
    assert parse_sweep(text + "segment: null\n", "x") == whole


def test_a_large_sweep_loads_at_once_and_stays_small() -> None:
    rates = ", ".join(f"{i / 1000}" for i in range(1, 101))
    text = f"axes:\n  matrix: [{', '.join(CANONICAL)}]\n  leader.lr: [{rates}]\n  seed: {list(range(100))}"
    tracemalloc.start()
    start = time.perf_counter()
    sweep = parse_sweep(text, "s")
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sweep.size == 120_000
    assert seconds < 1
    assert peak < 10e6  # bytes; 120,000 run specs would take some hundreds of megabytes


def test_hiding_queries_from_evolution_strategies_can_be_shown_to_change_nothing() -> None:
    sweep = parse_sweep("matrix: hero\nleader: {algorithm: es}\naxes: {hidden_queries: [false, true]}", "shown")
    assert [sweep.run(index).hidden_queries for index in sweep.indices()] == [False, True]


def test_a_query_bit_doubles_the_states_of_the_leader() -> None:
    sweep = parse_sweep("matrix: hero\ngame: {memory: opponent}\naxes: {query_bit: [false, true]}", "bit")
    assert [sweep.run(index).leader_states for index in sweep.indices()] == [3, 6]
    assert sweep.leader_sizes["state"] == 6
    assert sweep.follower_dims == ()
