"""What every follower oracle keeps: of the right shape, never better than the best response."""

from __future__ import annotations

import numpy as np
import pytest

from stackpop import equilibria
from stackpop.games import MATRICES, Game, Memory
from stackpop.spec import QUERYLESS_ORACLES, RunSpec
from support import ORACLE_SETTINGS, random_payoffs, run_spec, train

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
