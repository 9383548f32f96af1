"""Networks: exact sums, gradients beside autograd, and what learns with them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stackpop.games import GameBatch
from stackpop.learners import ContextualSettings, Phase, PPOSettings, Streams, fresh_parameters
from stackpop.learners.contextual import ContextualNetworks
from stackpop.learners.functions import StateFunctions
from stackpop.learners.networks import backward, forward, fresh_layers, parameter_count, product
from stackpop.training import train_followers
from support import random_payoffs, run_spec, torch_threads

SIZES = (6, 5, 7, 3)


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shifted(tensor: Tensor, places: int) -> Tensor:
    """The same numbers at another alignment in memory."""
    room = torch.empty(tensor.numel() + places, dtype=tensor.dtype)
    copy = room[places:].view(tensor.shape)
    return copy.copy_(tensor)


def tanh_network(layers: list[Tensor], inputs: Tensor) -> Tensor:
    """One run's network as written down, in plain torch."""
    for depth, layer in enumerate(layers):
        inputs = inputs @ layer[:-1] + layer[-1]
        inputs = torch.tanh(inputs) if depth < len(layers) - 1 else inputs
    return inputs


def with_one(inputs: Tensor) -> Tensor:
    return torch.nn.functional.pad(inputs, (0, 1), value=1.0)


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 70), st.integers(1, 90), st.integers(1, 40), st.integers(0, 7))
def test_products_have_the_same_bits_in_any_batch(runs: int, n: int, k: int, m: int, places: int) -> None:
    """Alone, unaligned, in part, transposed and with more threads, where those of a plain product differ."""
    left, right = random(runs, n, k), random(runs, k, m, seed=2)
    with torch_threads(1):
        expected = product(left, right)
    torch.testing.assert_close(expected, left @ right, rtol=0, atol=1e-5 * k)
    with torch_threads(2):
        for run in range(runs):
            alone = product(shifted(left[run : run + 1], places), shifted(right[run : run + 1], places))
            assert torch.equal(alone[0], expected[run])
        assert torch.equal(product(right.mT.contiguous(), left.mT.contiguous()).mT, expected)


def test_sums_over_many_samples_stay_exact() -> None:
    left, right = random(1, 3, 20_000), random(1, 20_000, 2, seed=2)
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(3))
    expected = product(left, right)
    assert torch.equal(product(left[..., order], right[:, order]), expected)
    torch.testing.assert_close(expected, left @ right, rtol=0, atol=1e-2)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e308])
def test_a_product_that_is_not_finite_leaves_its_neighbours_alone(broken: float) -> None:
    left, right = random(3, 4, 5), random(3, 5, 2, seed=2)
    expected = product(left, right)
    left[1, 2, 3] = broken
    found = product(left, right)
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    assert not found[1].isfinite().all()


def test_products_of_zeros() -> None:
    assert torch.equal(product(torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)), torch.zeros(2, 3, 5))


def test_initial_weights_are_normalised() -> None:
    """Each output's weights have norm 1, those of the last layer 0.01; biases are 0."""
    layers = fresh_layers(Streams([1, 2], Phase.LEADER_INIT), SIZES)
    assert sum(layer[0].numel() for layer in layers) == parameter_count(SIZES)
    for layer, norm in zip(layers, (1, 1, 0.01), strict=True):
        torch.testing.assert_close(layer[:, :-1].norm(dim=1), torch.full((2, layer.shape[2]), norm).double())
        assert (layer[:, -1] == 0).all()
        assert not torch.equal(layer[0], layer[1])


def test_gradients_agree_with_those_of_torch() -> None:
    layers = [layer + 0.1 * random(*layer.shape) for layer in fresh_layers(Streams([3, 4], Phase.LEADER_INIT), SIZES)]
    inputs, by_output = random(2, 11, SIZES[0]), random(2, 11, SIZES[-1], seed=5)
    *fed, outputs = forward(layers, with_one(inputs))
    found = backward(layers, fed, by_output)
    for run in range(2):
        own = [layer[run] for layer in layers]
        expected, pull_back = torch.func.vjp(lambda each, run=run: tanh_network(each, inputs[run]), own)
        torch.testing.assert_close(outputs[run], expected, rtol=0, atol=1e-5)
        (gradients,) = pull_back(by_output[run])
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one[run], other, rtol=0, atol=1e-5)


def test_state_functions_learn_as_with_autograd_and_torchs_adam() -> None:
    """Logits and values of a population, each run with its own learning rate, towards random targets."""
    states, outputs, seeds, rates = 4, (3, 1), (5, 6), (0.01, 0.1)
    chosen = [PPOSettings(network="mlp", hidden=(6, 5))] * 2
    functions = StateFunctions(chosen, states, outputs, Streams(seeds, Phase.LEADER_INIT), torch.tensor(rates).double())
    start = Streams(seeds, Phase.LEADER_INIT)
    networks = [fresh_layers(start, (states, 6, 5, size)) for size in outputs]
    targets = [random(2, states, size) for size in outputs]
    for _ in range(30):
        for output, gradient, target in zip(functions.outputs, functions.gradients, targets, strict=True):
            gradient.copy_(2 * (output - target.movedim(-1, 0)))
        functions.step()
    for run, rate in enumerate(rates):
        for network, target, found in zip(networks, targets, functions.outputs, strict=True):
            layers = [layer[run].clone().requires_grad_() for layer in network]
            optimiser = torch.optim.Adam(layers, lr=rate)
            for _ in range(30):
                optimiser.zero_grad()
                ((tanh_network(layers, torch.eye(states).double()) - target[run]) ** 2).sum().backward()
                optimiser.step()
            expected = tanh_network(layers, torch.eye(states).double()).detach()
            torch.testing.assert_close(found[:, run].T, expected, rtol=0, atol=1e-3)


def test_follower_updates_agree_with_one_loss_a_sample() -> None:
    """REINFORCE with the mean return of each round as baseline, for a follower in a 3x2 game."""
    game = run_spec("random", random_payoffs(1, 3, 2), game={"memory": "joint"}).to_game()
    batch, envs, rounds = GameBatch.of([game]), 9, 5
    chosen = ContextualSettings(network="mlp", hidden=(6,), lr=0.05)
    parameters = fresh_parameters(chosen, batch, Streams([1], Phase.FOLLOWER_INIT))
    assert parameters.shape == (1, *chosen.parameter_shape(game))
    shapes = [(3 * 7 + 1, 6), (6 + 1, 2 * 7)]
    pieces = parameters[0].clone().split([n * m for n, m in shapes])
    layers = [p.view(shape).clone().requires_grad_() for p, shape in zip(pieces, shapes, strict=True)]
    follower, optimiser = ContextualNetworks([chosen], parameters, batch), torch.optim.Adam(layers, lr=0.05)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        answers = torch.randint(3, (1, envs, 7), generator=generator)
        state, action = (torch.randint(most, (1, envs, rounds), generator=generator) for most in (7, 2))
        returns = torch.randn(1, envs, rounds, generator=generator, dtype=torch.float64)
        follower.update(follower.contexts(answers), 2 * state + action, returns)
        inputs = torch.nn.functional.one_hot(answers[0], 3).flatten(1).double()
        logits = tanh_network(layers, inputs).view(envs, 7, 2)
        chance = torch.log_softmax(logits, -1)[torch.arange(envs)[:, None], state[0], action[0]]
        optimiser.zero_grad()
        (-(chance * (returns[0] - returns[0].mean(0))).mean()).backward()
        optimiser.step()
    answers = torch.randint(3, (1, 50, 7), generator=generator)
    inputs = torch.nn.functional.one_hot(answers[0], 3).flatten(1).double()
    expected = torch.softmax(tanh_network(layers, inputs).view(50, 7, 2), -1).detach()
    torch.testing.assert_close(follower.policy_at(follower.contexts(answers))[0], expected, rtol=0, atol=1e-4)


def test_a_network_learns_to_best_respond_to_every_leader_table() -> None:
    """With its certificate: training stops when no regret is left."""
    spec = run_spec(
        game={"memory": "opponent", "rounds": 4},
        follower={"oracle": "contextual", "network": "mlp", "hidden": [32], "lr": 0.01, "batch_steps": 700},
    ).follower_spec()
    assert spec is not None
    (result,) = train_followers([spec])
    assert result.error == ""
    regret = result.arrays["follower_regret_sum"]
    assert regret[0] > 0
    assert regret[-1] == 0
    assert len(regret) == result.arrays["updates"] < spec.follower.updates
