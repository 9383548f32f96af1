"""ES in packs beside ES as written down: one run, one perturbation at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from chain import BEST, LONG, check_any_pack, learn_chain
from stackpop.learners import Phase, Streams
from stackpop.learners.batch import Batch
from stackpop.learners.es import ESLeader, ESSettings, centred_ranks
from stackpop.spec.problems import expectation

SEEDS, STATES, ACTIONS, ENVS, STEPS = (3, 1, 4), 4, 3, 10, 5
LEARNING_RATES = (0.001, 0.01, 0.5)


class NaiveES:
    """One run of ES, perturbation by perturbation."""

    def __init__(self, settings: ESSettings, logits: Tensor, seed: int) -> None:
        self.settings, self.logits = settings, logits.clone()
        self._optimiser = torch.optim.Adam([self.logits], lr=settings.lr, eps=1e-8)
        self._exploration = Streams([seed], Phase.LEADER_EXPLORATION)

    def perturbed(self, envs: int) -> list[Tensor]:
        directions = list(self._exploration.normal(envs // 2, *self.logits.shape)[0])
        self.directions = directions + [-direction for direction in directions]
        return [self.logits + self.settings.noise * direction for direction in self.directions]

    def update(self, reward: Tensor) -> None:
        returns = [sum(episode) for episode in reward.tolist()]
        ranks = (scipy.stats.rankdata(returns) - 1) / (len(returns) - 1) - 0.5
        climb = sum(float(rank) * way for rank, way in zip(ranks, self.directions, strict=True)) / len(returns)
        self.logits.grad = -climb + self.settings.l2 * self.logits
        self._optimiser.step()


def population(rates: Sequence[float] = LEARNING_RATES, **settings: float | str) -> ESLeader:
    pack = [ESSettings.model_validate({"lr": lr, **settings}) for lr in rates]
    return ESLeader(pack, STATES, ACTIONS, SEEDS[: len(rates)])


def random_batch(generator: torch.Generator, runs: int = len(SEEDS), envs: int = ENVS) -> Batch:
    """Rewards of few values, so that some returns are equal."""
    state = torch.randint(STATES, (runs, envs, STEPS), generator=generator)
    action = torch.randint(ACTIONS, (runs, envs, STEPS), generator=generator)
    return Batch.of(state, action, ACTIONS, torch.randint(3, (runs, envs, STEPS), generator=generator).double())


@pytest.mark.parametrize("acting", ["greedy", "sample"])
def test_many_updates_agree_with_one_perturbation_at_a_time(acting: str) -> None:
    leader = population(acting=acting, noise=0.3, l2=0.2)
    naive = [NaiveES(ESSettings(lr=lr, noise=0.3, l2=0.2), leader.logits[run], seed)
             for run, (lr, seed) in enumerate(zip(LEARNING_RATES, SEEDS, strict=True))]  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        behaviour, batch = leader.behaviour(ENVS), random_batch(generator)
        leader.update(batch)
        for run, one in enumerate(naive):
            perturbed = torch.stack(one.perturbed(ENVS))
            assert torch.equal(behaviour[run].argmax(-1), perturbed.argmax(-1))
            if acting == "sample":
                torch.testing.assert_close(behaviour[run], torch.softmax(perturbed, -1), rtol=1e-11, atol=0)
            one.update(batch.reward[run])
        logits = torch.stack([one.logits for one in naive])
        torch.testing.assert_close(leader.logits, logits, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("envs", "updates", "runs"), [(26, 12, 11), LONG], ids=["short", "long"])
@pytest.mark.parametrize("acting", ["greedy", "sample"])
def test_runs_have_the_same_bits_in_any_pack(acting: str, envs: int, updates: int, runs: int) -> None:
    def train(chosen: Sequence[int]) -> tuple[Tensor, ...]:
        pack = [ESSettings.model_validate({"lr": 0.01 * (1 + run % 7), "acting": acting}) for run in chosen]
        seeds = [run // 2 for run in chosen]
        leader = ESLeader(pack, 3, 2, seeds)
        learn_chain(leader, seeds, envs, updates, spread=2)
        return leader.logits, leader.policy

    check_any_pack(train, runs)


def test_acting_greedily_the_chain_is_solved_within_ten_generations() -> None:
    leader = ESLeader([ESSettings()] * len(SEEDS), 3, 2, SEEDS)
    learn_chain(leader, SEEDS, envs=200, updates=10)
    assert leader.policy[:, [0, 2], [BEST[0], BEST[2]]].tolist() == [[1.0, 1.0]] * len(SEEDS)


def test_sampling_learns_too_but_stays_undecided() -> None:
    leader = ESLeader([ESSettings(acting="sample", noise=0.5, lr=0.05)] * len(SEEDS), 3, 2, SEEDS)
    learn_chain(leader, SEEDS, envs=200, updates=40)
    best = leader.policy[:, [0, 2], [BEST[0], BEST[2]]]
    assert (best > 0.7).all()
    assert (best < 1).all()


@pytest.mark.parametrize("acting", ["greedy", "sample"])
def test_unpaid_query_steps_change_no_bit(acting: str) -> None:
    whole, hidden = population(acting=acting), population(acting=acting)
    generator, queries = torch.Generator().manual_seed(2), 3
    for _ in range(20):
        batch = random_batch(generator)
        reward = torch.randn(batch.reward.shape, generator=generator, dtype=torch.float64)
        reward[..., :queries] = 0
        for leader, steps in ((whole, slice(None)), (hidden, slice(queries, None))):
            leader.behaviour(ENVS)
            leader.update(Batch(batch.decision[..., steps], ACTIONS, reward[..., steps]))
    assert torch.equal(whole.logits, hidden.logits)
    assert torch.equal(whole.policy, hidden.policy)


def test_perturbations_come_in_opposite_pairs() -> None:
    leader = population(acting="sample", noise=0.5)
    shifts = (leader.behaviour(ENVS) / leader.policy[:, None]).log()
    shifts = shifts - shifts[..., :1]  # of the logits, up to what they have in common
    ahead, behind = shifts.chunk(2, 1)
    torch.testing.assert_close(ahead, -behind)
    assert (ahead[..., 1:].abs() > 1e-3).all()
    assert not torch.isclose(ahead[:, 0], ahead[:, 1]).all(-1).any()


def test_the_noise_is_the_deviation_of_the_logits() -> None:
    leader = population(acting="sample", noise=0.02)
    shifts = (leader.behaviour(4000) / leader.policy[:, None]).log()
    difference = shifts[..., 1] - shifts[..., 0]  # of two independent logits
    assert difference.std().item() == pytest.approx(0.02 * 2**0.5, rel=0.02)


def test_greedy_leaders_act_by_tables_and_sampling_ones_by_chance() -> None:
    greedy, sample = population(acting="greedy"), population(acting="sample")
    for table in (greedy.behaviour(ENVS), greedy.policy):
        assert set(table.unique().tolist()) == {0.0, 1.0}
        assert (table.sum(-1) == 1).all()
    assert torch.equal(greedy.policy.argmax(-1), greedy.logits.argmax(-1))
    torch.testing.assert_close(sample.policy, torch.softmax(sample.logits, -1), rtol=1e-13, atol=0)
    assert ((sample.behaviour(ENVS) > 0.2) & (sample.behaviour(ENVS) < 0.5)).all()


def test_equal_returns_teach_nothing_but_the_decay() -> None:
    leader, free = population([1e-4]), population([1e-4], l2=0.0)
    for one in (leader, free):
        before = one.logits.abs()
        one.behaviour(ENVS)
        one.update(Batch(torch.zeros(1, ENVS, STEPS, dtype=torch.int64), ACTIONS, torch.ones(1, ENVS, STEPS).double()))
        assert torch.equal(one.logits.abs() < before, torch.full_like(before, one is leader, dtype=torch.bool))
    assert torch.equal(free.logits, population([1e-4]).logits)


def test_ranks_by_hand() -> None:
    found = centred_ranks(torch.tensor([[3.0, 1.0, 2.0, 2.0, 9.0], [7.0] * 5], dtype=torch.float64))
    assert found.tolist() == [[0.25, -0.5, -0.125, -0.125, 0.5], [0.0] * 5]


@given(st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_ranks_agree_with_scipy(returns: list[float]) -> None:
    found = centred_ranks(torch.tensor([returns, returns[::-1]], dtype=torch.float64))
    expected = (scipy.stats.rankdata(returns) - 1) / (len(returns) - 1) - 0.5
    np.testing.assert_allclose(found.numpy(), [expected, expected[::-1]], rtol=0, atol=1e-15)


def test_an_episode_a_perturbed_leader_and_an_even_number_of_them() -> None:
    assert ESSettings(population=40).episodes(8) == ESSettings(population=40).episodes(15) == 40
    with pytest.raises(ValidationError) as caught:
        ESSettings(population=41)
    assert [expectation(e) for e in caught.value.errors()] == ["a multiple of 2"]


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e308])
def test_a_run_whose_returns_are_not_finite_leaves_its_neighbours_alone(broken: float) -> None:
    sound, spoilt, generator = population(), population(), torch.Generator().manual_seed(3)
    for _ in range(3):
        batch = random_batch(generator)
        reward = batch.reward.clone()
        reward[1, ::2] = broken
        for leader, paid in ((sound, batch.reward), (spoilt, reward)):
            leader.behaviour(ENVS)
            leader.update(Batch(batch.decision, ACTIONS, paid))
    assert torch.equal(spoilt.logits[[0, 2]], sound.logits[[0, 2]])
    assert spoilt.logits.isfinite().all()  # only ranks count
