"""What every leader algorithm keeps: a new one is tested on the day it is registered."""

from __future__ import annotations

import pytest
import torch

from stackpop.learners import Decisions, Leader, LeaderSettings, Phase, Streams, make_leaders
from support import LEADER_SETTINGS, random_decisions

SEEDS, STATES, ACTIONS = (3, 1, 4), 4, 3

each_leader = pytest.mark.parametrize(
    "settings", [settings.model_validate({"lr": 0.05}) for settings in LEADER_SETTINGS.values()], ids=LEADER_SETTINGS
)


def population(settings: LeaderSettings, states: int = STATES, actions: int = ACTIONS) -> Leader:
    return make_leaders([settings] * len(SEEDS), states, actions, Streams(SEEDS, Phase.LEADER_INIT))


def check_policy(leader: Leader, states: int = STATES, actions: int = ACTIONS) -> None:
    policy = leader.policy
    assert policy.shape == (len(SEEDS), states, actions)
    assert (policy >= 0).all()
    torch.testing.assert_close(policy.sum(-1), torch.ones(len(SEEDS), states, dtype=torch.float64))


@each_leader
def test_probabilities_sum_to_one_and_start_nearly_even(settings: LeaderSettings) -> None:
    leader = population(settings)
    check_policy(leader)
    assert ((leader.policy - 1 / ACTIONS).abs() < 0.01).all()
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        leader.update(random_decisions(generator, len(SEEDS), 60, STATES, ACTIONS))
        check_policy(leader)
    assert ((leader.policy - 1 / ACTIONS).abs() > 0.01).any()


@each_leader
def test_a_policy_handed_out_does_not_change_later(settings: LeaderSettings) -> None:
    leader = population(settings)
    policy = leader.policy
    kept = policy.clone()
    leader.update(random_decisions(torch.Generator().manual_seed(1), len(SEEDS), 60, STATES, ACTIONS))
    assert torch.equal(policy, kept)
    assert not torch.equal(policy, leader.policy)


@each_leader
def test_a_bandit_of_one_state_is_learned(settings: LeaderSettings) -> None:
    """Each run has another best arm, which pays 1 where the others pay -1 and 0."""
    leader = population(settings, states=1)
    pays = torch.tensor([[1, -1, 0], [0, 1, -1], [-1, 0, 1]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        action = torch.multinomial(leader.policy[:, 0], 100, replacement=True, generator=generator)
        leader.update(Decisions(torch.zeros_like(action), action, pays.gather(1, action)))
    check_policy(leader, states=1)
    assert leader.policy[:, 0].argmax(-1).tolist() == [0, 1, 2]
    assert (leader.policy.amax(-1) > 0.95).all()


@each_leader
@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e308])
def test_a_row_that_is_not_finite_leaves_its_neighbours_alone(settings: LeaderSettings, broken: float) -> None:
    sound, spoilt = population(settings), population(settings)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        batch = random_decisions(generator, len(SEEDS), 60, STATES, ACTIONS)
        sound.update(Decisions(batch.state.clone(), batch.action.clone(), batch.return_to_go.clone()))
        batch.return_to_go[1, ::2] = broken
        spoilt.update(batch)
    assert torch.equal(spoilt.policy[[0, 2]], sound.policy[[0, 2]])
    assert not torch.equal(spoilt.policy[1], sound.policy[1])


@each_leader
def test_every_run_has_its_own_learning_rate(settings: LeaderSettings) -> None:
    rates = (0.0001, 0.01, 0.1)
    pack = [settings.model_copy(update={"lr": lr}) for lr in rates]
    leader = make_leaders(pack, STATES, ACTIONS, Streams([1] * len(rates), Phase.LEADER_INIT))
    before = leader.policy
    batch = random_decisions(torch.Generator().manual_seed(1), 1, 60, STATES, ACTIONS)
    leader.update(Decisions(*(x.expand(len(rates), -1) for x in (batch.state, batch.action, batch.return_to_go))))
    slow, middle, fast = (leader.policy - before).abs().flatten(1).amax(1).tolist()
    assert 0 < slow < middle < fast
