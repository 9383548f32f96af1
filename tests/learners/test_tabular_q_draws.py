"""The random numbers, fresh tables and settings of the tabular-Q follower."""

from __future__ import annotations

import statistics

import pytest
import torch
from pydantic import ValidationError

from stackpop.games import MATRICES, Game, GameBatch
from stackpop.learners import Phase, Streams
from stackpop.learners.tabular_q import Draws, TabularQFollower, TabularQSettings, fresh_tables
from tabular_q_variants import VARIANTS


def test_numbers_of_an_episode_do_not_depend_on_how_many_are_drawn_at_once() -> None:
    batch = GameBatch.of([Game(MATRICES["chicken"], "opponent", rounds=2)])
    for settings in (VARIANTS["epsilon_greedy"], VARIANTS["parameter_noise"]):
        follower = TabularQFollower(batch, settings)
        whole = Draws.of(batch, settings, Streams([3], Phase.TABULAR_Q).uniform(6, follower.numbers))
        streams = Streams([3], Phase.TABULAR_Q)
        split = [Draws.of(batch, settings, streams.uniform(3, follower.numbers)) for _ in range(2)]
        for name in ("leader", "exploration", "init"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(draws, name) for draws in split], 1))


def test_draws_use_every_number_once() -> None:
    batch = GameBatch.of([Game(MATRICES["chicken"], "opponent", rounds=2)])
    for settings in VARIANTS.values():
        follower = TabularQFollower(batch, settings)
        uniforms = (torch.arange(follower.numbers).double() / follower.numbers).expand(1, 1, -1)
        draws = Draws.of(batch, settings, uniforms)
        quantile = statistics.NormalDist().inv_cdf
        numbers = uniforms.flatten().tolist()
        normals = [quantile(max(u, 2**-54)) for u in numbers]
        leader, exploration, _ = Draws.sizes(batch, settings)
        noisy = settings.exploration == "parameter_noise"
        assert draws.leader.flatten().tolist() == numbers[:leader]
        expected = (normals if noisy else numbers)[leader : leader + exploration]
        assert draws.exploration.flatten().tolist() == pytest.approx(expected, rel=1e-12)
        assert draws.init.flatten().tolist() == pytest.approx(normals[leader + exploration :], rel=1e-12)


def test_normals_are_finite_at_both_ends() -> None:
    batch, settings = GameBatch.of([Game(MATRICES["chicken"], "none", rounds=1)]), TabularQSettings(games=1)
    for end in (0.0, 1 - 2**-53):
        numbers = TabularQFollower(batch, settings).numbers
        init = Draws.of(batch, settings, torch.full((1, 1, numbers), end, dtype=torch.float64)).init
        assert init.abs().sub(8.25).abs().max() < 0.1


def test_fresh_tables_are_small_or_zero() -> None:
    batch = GameBatch.of([Game(MATRICES["chicken"])])
    for init, sd in (("normal", 0.01), ("zeros", 0.0)):
        settings = TabularQSettings(games=1, init=init)
        numbers = TabularQFollower(batch, settings).numbers
        draws = Draws.of(batch, settings, Streams([1], Phase.TABULAR_Q).uniform(2000, numbers))
        tables = fresh_tables(batch, settings, draws)
        assert tables.shape == (1, 2000, 5, 2)
        assert tables.std().item() == pytest.approx(sd, rel=0.03)


def test_what_belongs_to_the_other_exploration_has_no_effect() -> None:
    greedy, noisy = TabularQSettings(), TabularQSettings(exploration="parameter_noise")
    assert (greedy.explore_chance, greedy.noise_sd) == (0.1, 0.0)
    assert (noisy.explore_chance, noisy.noise_sd) == (0.0, 0.1)
    assert TabularQSettings(epsilon=0.0).explore_chance == 0.0
    assert TabularQSettings(exploration="parameter_noise", noise=2.0).noise_sd == 2.0


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0.0}, {"alpha": 1.1}, {"gamma": -0.1}, {"gamma": 1.1}, {"epsilon": 1.5}, {"noise": -1.0}, {"games": 0},
     {"init": "ones"}, {"exploration": "softmax"}, {"q_alpha": 0.01}],
)  # fmt: skip
def test_settings_out_of_range_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TabularQSettings.model_validate(wrong)
