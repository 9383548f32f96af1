"""What every leader algorithm keeps: a new one is tested on the day it is registered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from stackpop.games.play import sample_actions
from stackpop.learners import Batch, Leader, LeaderSettings, NetworkSettings, make_leaders
from support import LEADER_SETTINGS, random_batch

SEEDS, STATES, ACTIONS = (3, 1, 4), 4, 3

SETTINGS = {name: settings.model_validate({"lr": 0.05}) for name, settings in LEADER_SETTINGS.items()}
NETWORKS = {f"{name}-mlp": each for name, each in SETTINGS.items() if isinstance(each, NetworkSettings)}
SETTINGS |= {name: each.model_copy(update={"network": "mlp", "hidden": (7, 8)}) for name, each in NETWORKS.items()}

each_leader = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def population(settings: LeaderSettings, states: int = STATES, seeds: Sequence[int] = SEEDS) -> Leader:
    return make_leaders([settings] * len(seeds), states, ACTIONS, seeds)


def batches(settings: LeaderSettings, count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [random_batch(generator, len(SEEDS), settings.episodes(1), STATES, ACTIONS) for _ in range(count)]


def train(leader: Leader, settings: LeaderSettings, batches: Sequence[Batch]) -> None:
    for batch in batches:
        leader.behaviour(settings.episodes(1))
        leader.update(Batch(batch.decision.clone(), ACTIONS, batch.reward.clone()))


def check_probabilities(policy: torch.Tensor) -> None:
    assert (policy >= 0).all()
    torch.testing.assert_close(policy.sum(-1), torch.ones(policy.shape[:-1], dtype=torch.float64))


@each_leader
def test_policy_and_behaviour_are_probabilities_all_along(settings: LeaderSettings) -> None:
    leader, envs = population(settings), settings.episodes(1)
    for batch in batches(settings, 20):
        behaviour = leader.behaviour(envs)
        assert behaviour.shape in ((len(SEEDS), size, STATES, ACTIONS) for size in (1, envs))
        assert leader.policy.shape == (len(SEEDS), STATES, ACTIONS)
        check_probabilities(behaviour)
        check_probabilities(leader.policy)
        leader.update(batch)


@each_leader
def test_a_policy_handed_out_does_not_change_later(settings: LeaderSettings) -> None:
    leader = population(settings)
    policy = leader.policy
    kept = policy.clone()
    train(leader, settings, batches(settings, 20))
    assert torch.equal(policy, kept)


@each_leader
def test_a_bandit_of_one_state_is_learned(settings: LeaderSettings) -> None:
    """Each run has another best arm, which pays 1 where the others pay -1 and 0."""
    leader, envs = population(settings, states=1), settings.episodes(1)
    pays = torch.tensor([[1, -1, 0], [0, 1, -1], [-1, 0, 1]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        draws = torch.rand(len(SEEDS), envs, 1, generator=generator, dtype=torch.float64)
        action = sample_actions(leader.behaviour(envs), draws)
        reward = pays.gather(1, action.flatten(1)).view_as(draws)
        leader.update(Batch(action, ACTIONS, reward))
    assert leader.policy[:, 0].argmax(-1).tolist() == [0, 1, 2]
    assert (leader.policy.amax(-1) > 0.95).all()


@each_leader
@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e308])
def test_a_row_that_is_not_finite_leaves_its_neighbours_alone(settings: LeaderSettings, broken: float) -> None:
    sound, spoilt = population(settings), population(settings)
    for batch in batches(settings, 5):
        train(sound, settings, [batch])
        batch.reward[1, ::2] = broken
        train(spoilt, settings, [batch])
    assert torch.equal(spoilt.policy[[0, 2]], sound.policy[[0, 2]])


@each_leader
def test_every_run_has_its_own_learning_rate(settings: LeaderSettings) -> None:
    """Alone with its rate, a run learns the same bits as in a population of other rates."""
    pack = [settings.model_copy(update={"lr": lr}) for lr in (0.0001, 0.01, 0.1)]
    together, episodes = make_leaders(pack, STATES, ACTIONS, SEEDS), batches(settings, 10)
    train(together, settings, episodes)
    for run, seed in enumerate(SEEDS):
        alone = make_leaders([pack[run]], STATES, ACTIONS, [seed])
        row = slice(run, run + 1)
        train(alone, settings, [Batch(b.decision[row], ACTIONS, b.reward[row]) for b in episodes])
        assert torch.equal(alone.policy[0], together.policy[run])
