"""Returns and gradients of policies, and the search over them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from plain_games import raw
from stackpop.equilibria import best_responses, ground_truth
from stackpop.equilibria.policy_returns import UnitGame, onto_simplex
from stackpop.equilibria.resample import Protocol
from stackpop.games import FOLLOWER, LEADER, MATRICES, Game, Memory, all_tables, expected_returns


@pytest.mark.parametrize("memory", ["none", "opponent", "joint"])
def test_returns_and_gradients_agree_with_autograd(memory: Memory) -> None:
    game = Game((((3, 1), (0, 2)), ((5, 0), (1, 1)), ((2, 4), (4, 3))), memory, rounds=4)
    unit = UnitGame(game)
    policy = np.random.default_rng(1).dirichlet([1, 1, 1], game.leader_states)
    returns, gradients = unit.returns_and_gradients(policy)
    np.testing.assert_allclose(unit.returns(policy[None])[0], returns, rtol=1e-12)

    variable = torch.from_numpy(policy).requires_grad_()
    replies = torch.nn.functional.one_hot(all_tables(game.follower_states, game.columns), game.columns).double()
    expected = expected_returns(unit.batch, variable[None, None], replies[None])[0]
    for table, player in itertools.product(range(len(returns)), (LEADER, FOLLOWER)):
        (gradient,) = torch.autograd.grad(expected[table, player], variable, retain_graph=True)
        np.testing.assert_allclose(gradients[table, player], gradient.numpy(), atol=1e-12)


def test_protocol_values_and_gradients_agree_with_differences() -> None:
    game = raw("deadlock", "opponent", 5)
    protocol = Protocol(UnitGame(game), best_responses(game).is_best)
    policy = np.random.default_rng(2).dirichlet([1, 1], game.leader_states)
    point = protocol.at(policy)
    assert point.value == pytest.approx(protocol.values(policy[None])[0])
    for state, row in np.ndindex(policy.shape):
        step = np.zeros_like(policy)
        step[state, row] = 1e-6
        slope = (protocol.at(policy + step).value - protocol.at(policy - step).value) / 2e-6
        assert point.gradient[state, row] == pytest.approx(slope, abs=1e-7)


def test_projection_onto_the_simplex_is_the_nearest_point() -> None:
    points = np.random.default_rng(3).normal(size=(50, 3)) * 2
    nearest = onto_simplex(points)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    assert (nearest >= 0).all()
    others = np.random.default_rng(4).dirichlet([1, 1, 1], 500)
    distances = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1)
    assert (np.linalg.norm(points - nearest, axis=1) <= distances + 1e-12).all()


@pytest.mark.parametrize("name", ["prisoners_dilemma", "deadlock"])
def test_values_are_the_same_bits_every_time(name: str) -> None:
    game = Game(MATRICES[name], "opponent", 5)
    first = ground_truth(game)
    torch.rand(7)
    np.random.default_rng().random(7)
    assert repr(ground_truth(game)) == repr(first)


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e290])
def test_values_scale_with_the_payoffs(scale: float) -> None:
    payoffs = tuple(tuple((a * scale, b) for a, b in row) for row in MATRICES["prisoners_delight"])
    plain = ground_truth(raw("prisoners_delight", "opponent", 5))
    scaled = ground_truth(Game(payoffs, "opponent", 5, reward_offset=0.0))
    assert scaled.resample / scale == pytest.approx(plain.resample)
    assert scaled.pure / scale == pytest.approx(plain.pure)
