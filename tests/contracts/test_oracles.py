"""What every follower oracle keeps: of the right shape, never better than the best response."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stackpop import equilibria
from stackpop.evaluation import _solve
from stackpop.games import FOLLOWER, MATRICES, Game, GameBatch, Memory, all_tables, table_returns
from stackpop.learners import ContextualSettings, make_followers
from stackpop.spec import QUERYLESS_ORACLES, RunSpec
from stackpop.training import learned, train_leaders
from support import ORACLE_SETTINGS, check_same_bits, random_payoffs, run_spec, train

MEMORIES: list[Memory] = ["none", "opponent", "joint"]
COMMITMENTS = ["resample", "replay"]

each_oracle = pytest.mark.parametrize("oracle", ORACLE_SETTINGS)
each_memory = pytest.mark.parametrize("memory", MEMORIES)
PROTOCOLS = [(o, c) for o in ORACLE_SETTINGS for c in COMMITMENTS if c == "resample" or o not in QUERYLESS_ORACLES]
each_protocol = pytest.mark.parametrize(("oracle", "commitment"), PROTOCOLS)


def follower(oracle: str, updates: int) -> dict[str, object]:
    settings = {"contextual": {"updates": updates, "post_updates": 4}, "tabular_q": {"games": updates}}
    return {"oracle": oracle, **settings.get(oracle, {})}


def specs(oracle: str, memory: Memory, commitment: str) -> list[RunSpec]:
    """Runs on games with 2 rows and 3 columns, so that no two axes can be confused."""
    return [
        run_spec(
            f"random{seed}",
            random_payoffs(seed, rows=2, columns=3 if memory != "joint" else 2),
            seed=seed,
            game={"memory": memory, "rounds": 4},
            commitment=commitment,
            leader={"algorithm": "pg", "updates": 6, "lr": 0.3},
            follower=follower(oracle, updates=30),
        )
        for seed in (1, 2)
    ]


@each_protocol
@each_memory
def test_nobody_beats_the_best_response(oracle: str, memory: Memory, commitment: str) -> None:
    for _, leader in train(specs(oracle, memory, commitment)):
        assert leader.error == ""
        regret = leader.arrays["follower_regret"]
        assert regret.shape == (6,)
        assert (regret >= -1e-9).all()


LONGER = {oracle: follower(oracle, updates=5) for oracle in ORACLE_SETTINGS} | {
    "tabular_q, carried on": follower("tabular_q", updates=5) | {"reset": False, "alpha": 0.5},
    "contextual network": follower("contextual", updates=5) | {"network": "mlp", "hidden": [4]},
}


@pytest.mark.parametrize("settings", LONGER.values(), ids=LONGER)
def test_what_comes_later_changes_no_curve(settings: dict[str, object]) -> None:
    """Each update is judged by what leader and follower were then, though all are judged at the end."""
    short, long = (
        run_spec(
            "random",
            random_payoffs(3),
            game={"memory": "joint", "rounds": 4},
            leader={"algorithm": "pg", "updates": updates, "lr": 0.3, "batch_steps": 20},
            follower=settings,
        )
        for updates in (2, 5)
    )
    ((_, first),), ((_, whole),) = train([short]), train([long])
    curves = [name for name, array in first.arrays.items() if len(array) == 2]
    assert "leader_return" in curves
    for name in curves:
        np.testing.assert_array_equal(whole.arrays[name][:2], first.arrays[name], name)
    assert (whole.arrays["leader_return"][2:] != whole.arrays["leader_return"][1]).all()


@each_memory
def test_the_exact_oracle_has_no_regret_where_answers_are_played(memory: Memory) -> None:
    for training, leader in train(specs("exact", memory, "replay")):
        assert training is None
        np.testing.assert_allclose(leader.arrays["follower_regret"], 0, atol=1e-9)
        assert not [name for name in leader.arrays if name.startswith("post_")]


@each_memory
def test_the_exact_oracle_is_a_best_response_to_every_greedy_leader(memory: Memory) -> None:
    """Also under `resample`, where a stochastic leader can deceive it."""
    for spec, (_, leader) in zip(runs := specs("exact", memory, "resample"), train(runs), strict=True):
        best = equilibria.best_responses(spec.to_game())
        table = leader.arrays["leader_policy"][-1].argmax(-1)
        number = int(np.ravel_multi_index(table, [2] * len(table)))
        assert leader.arrays["leader_return_greedy"][-1] == pytest.approx(best.leader_optimistic[number])
        assert leader.arrays["follower_return_greedy"][-1] == pytest.approx(best.follower_return[number])


@each_memory
def test_networks_are_judged_as_tables_are(memory: Memory) -> None:
    """What a follower with a network replies, put into a table, has the same regrets, curves and leaders."""
    network = {"oracle": "contextual", "network": "mlp", "hidden": [8], "updates": 30, "post_updates": 0}
    for spec in specs("exact", memory, "resample"):
        run = spec.model_copy(update={"follower": ContextualSettings.model_validate(network)})
        ((training, leader),) = train([run])
        assert training is not None
        game, follower = run.to_game(), run.follower_spec()
        assert follower is not None
        batch, parameters = GameBatch.of([game]), torch.from_numpy(learned(training.arrays))[None]
        population = make_followers([follower.follower], parameters, batch)
        tables = all_tables(game.leader_states, game.rows)
        replies = population.replies_at(population.contexts(tables[None]))
        returns = table_returns(batch, tables[None], replies)[0, :, FOLLOWER].numpy()
        shortfall = equilibria.best_responses(game).follower_return - returns
        assert training.arrays["follower_regret_worst"][-1] == pytest.approx(shortfall.max(), abs=1e-9)
        assert training.arrays["follower_regret_sum"][-1] == pytest.approx(shortfall.sum(), abs=1e-9)
        table = run.model_copy(update={"follower": ContextualSettings(post_updates=0)})
        trained = table.follower_spec()
        assert trained is not None
        logits = torch.nn.functional.one_hot(replies[0], game.columns).double().numpy()
        (expected,) = train_leaders([table], {trained.follower_id: logits})
        check_same_bits(expected, leader, spec.label)


@pytest.mark.parametrize("commitment", COMMITMENTS)
def test_sampled_answers_stand_for_contexts_that_are_too_many(commitment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a game small enough for both, means over many sampled answers are close to the exact expectations."""
    spec = run_spec(
        "random",
        random_payoffs(1, 2, 3),
        game={"memory": "opponent", "rounds": 4},
        commitment=commitment,
        leader={"algorithm": "pg", "updates": 5, "lr": 0.5, "network": "mlp", "hidden": [8]},
        follower={"oracle": "contextual", "network": "mlp", "hidden": [8], "updates": 20, "post_updates": 3},
        evaluation_episodes=4000,
    )
    ((_, exact),) = train([spec])
    monkeypatch.setattr(equilibria.enumeration, "MAX_TABLES", 10)
    _solve.cache_clear()
    ((follower, sampled),) = train([spec])
    _solve.cache_clear()
    assert exact.error == sampled.error == ""
    assert follower is not None
    assert (follower.arrays["follower_regret_worst"] >= 0).all()
    np.testing.assert_array_equal(sampled.arrays["leader_policy"], exact.arrays["leader_policy"])
    for name in ("leader_return_greedy", "follower_return_greedy"):
        np.testing.assert_allclose(sampled.arrays[name], exact.arrays[name])
    for name in ("leader_return", "follower_return", "leader_return_sampled", "equilibrium_gap", "post_leader_return"):
        np.testing.assert_allclose(sampled.arrays[name], exact.arrays[name], atol=0.15)
    assert exact.arrays.keys() - sampled.arrays.keys() == {"follower_regret", "post_follower_regret"}


@each_memory
def test_the_contextual_oracle_hands_over_a_table_for_every_context(memory: Memory) -> None:
    for spec, (training, leader) in zip(runs := specs("contextual", memory, "resample"), train(runs), strict=True):
        assert training is not None
        game: Game = spec.to_game()
        logits = training.arrays["follower_logits"]
        assert logits.shape == (game.leader_tables, game.follower_states, game.columns)
        total, worst = training.arrays["follower_regret_sum"], training.arrays["follower_regret_worst"]
        assert (worst >= 0).all()
        assert (total >= worst - 1e-9).all()
        assert (total <= game.leader_tables * worst + 1e-9).all()
        assert leader.arrays["post_follower_regret"].shape == (4,)


@each_oracle
def test_oracles_agree_where_the_best_response_is_plain(oracle: str) -> None:
    """In one round of the prisoner's dilemma every follower defects, and the leader then does too."""
    leader = {"algorithm": "ppo", "updates": 60, "lr": 0.05, "batch_steps": 4000}
    game = {"memory": "none", "rounds": 1}
    spec = run_spec("prisoners_dilemma", game=game, leader=leader, follower=follower(oracle, updates=200))
    ((_, result),) = train([spec])
    raw = MATRICES["prisoners_dilemma"][1][1][0] - 2.5
    assert result.arrays["leader_return_greedy"][-1] == pytest.approx(raw)
    assert result.arrays["leader_return"][-1] == pytest.approx(raw, abs=0.05)
    assert result.arrays["follower_regret"][-1] == pytest.approx(0, abs=1e-9)
