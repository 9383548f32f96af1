"""SimpleQ in packs beside SimpleQ as written down: one run, one loss a sample, by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chain import BEST, LONG, VALUES, check_any_pack, learn_chain
from stackpop.learners import Phase, Streams
from stackpop.learners.batch import Batch
from stackpop.learners.simple_q import Replay, SimpleQLeader, SimpleQSettings, adapted_noise, transitions

SEEDS, STATES, ACTIONS, ENVS, STEPS = (3, 1, 4), 4, 3, 3, 5
LEARNING_RATES = (0.001, 0.1, 0.5)
# Small enough for a few batches of 15 steps to fill the buffer many times, at places that no batch ends on.
SMALL = {"minibatch": 32, "buffer": 52, "target_update": 50, "learning_starts": 40}


class NaiveSimpleQ:
    """One run of SimpleQ, sample by sample."""

    def __init__(self, settings: SimpleQSettings, q: Tensor, seed: int) -> None:
        self.settings, self.noise = settings, settings.noise
        self.q, self.target = q.clone().requires_grad_(), q.clone()
        self.buffer: list[tuple[int, int, float, int | None]] = []
        self.steps = self.refreshed = 0
        self._optimiser = torch.optim.Adam([self.q], lr=settings.lr, eps=1e-8)
        self._exploration, self._draws = Streams([seed], Phase.LEADER_EXPLORATION), Streams([seed], Phase.LEADER_REPLAY)

    def behaviour(self, envs: int) -> Tensor:
        self.perturbed = self.q.detach() + self.noise * self._exploration.normal(envs, *self.q.shape)[0]
        return self.perturbed.argmax(-1)  # [env, state]

    def update(self, state: Tensor, action: Tensor, reward: Tensor) -> None:
        self._adapt(state)
        for env in range(len(state)):
            for step in range(STEPS):
                after = int(state[env, step + 1]) if step + 1 < STEPS else None
                self._remember((int(state[env, step]), int(action[env, step]), float(reward[env, step]), after))
        if self.steps >= self.settings.learning_starts:
            self._learn()
        if self.steps - self.refreshed >= self.settings.target_update:
            self.target, self.refreshed = self.q.detach().clone(), self.steps

    def _adapt(self, state: Tensor) -> None:
        divergences = []
        for perturbed, states in zip(self.perturbed, state, strict=True):
            clean, noisy = torch.log_softmax(self.q.detach()[states], -1), torch.log_softmax(perturbed[states], -1)
            divergences.append(torch.nn.functional.kl_div(noisy, clean, reduction="none", log_target=True).sum(-1))
        self.noise *= 1.01 if torch.cat(divergences).mean() <= -math.log(0.99 + 0.01 / ACTIONS) else 1 / 1.01

    def _remember(self, step: tuple[int, int, float, int | None]) -> None:
        if len(self.buffer) < self.settings.buffer:
            self.buffer.append(step)
        else:
            self.buffer[self.steps % self.settings.buffer] = step
        self.steps += 1

    def _learn(self) -> None:
        losses = []
        for uniform in self._draws.uniform(self.settings.minibatch)[0].tolist():
            state, action, reward, after = self.buffer[int(uniform * len(self.buffer))]
            aim = torch.tensor(reward, dtype=torch.float64) + (0 if after is None else self.target[after].max())
            loss = torch.nn.functional.huber_loss if self.settings.loss == "huber" else torch.nn.functional.mse_loss
            losses.append(loss(self.q[state, action], aim) * (1 if self.settings.loss == "huber" else 0.5))
        self._optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        self._optimiser.step()


def population(rates: Sequence[float] = LEARNING_RATES, **settings: float | str) -> SimpleQLeader:
    pack = [SimpleQSettings.model_validate({"lr": lr, **settings}) for lr in rates]
    return SimpleQLeader(pack, STATES, ACTIONS, SEEDS[: len(rates)])


def played(behaviour: Tensor, generator: torch.Generator) -> Batch:
    """A batch of random states and rewards, with the actions that the behaviour takes there."""
    state = torch.randint(STATES, (*behaviour.shape[:2], STEPS), generator=generator)
    reward = 3 * torch.randn(state.shape, generator=generator, dtype=torch.float64)
    return Batch.of(state, behaviour.argmax(-1).gather(2, state), ACTIONS, reward)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_many_updates_agree_with_one_loss_a_sample(loss: str) -> None:
    leader = population(loss=loss, **SMALL)
    naive = [NaiveSimpleQ(SimpleQSettings.model_validate({"lr": lr, "loss": loss, **SMALL}), leader.q[run], seed)
             for run, (lr, seed) in enumerate(zip(LEARNING_RATES, SEEDS, strict=True))]  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        behaviour = leader.behaviour(ENVS)
        batch = played(behaviour, generator)
        leader.update(batch)
        for run, one in enumerate(naive):
            assert torch.equal(behaviour[run].argmax(-1), one.behaviour(ENVS))
            one.update(batch.state[run], batch.action[run], batch.reward[run])
        close(leader.q, torch.stack([one.q.detach() for one in naive]))
        close(leader._values[:, :-1], torch.stack([one.target.amax(-1) for one in naive]))
        close(leader.noise, torch.tensor([one.noise for one in naive], dtype=torch.float64))
        assert torch.equal(leader.policy.argmax(-1), leader.q.argmax(-1))


@pytest.mark.parametrize(("envs", "updates", "runs"), [(7, 14, 11), LONG], ids=["short", "long"])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_runs_have_the_same_bits_in_any_pack(loss: str, envs: int, updates: int, runs: int) -> None:
    settings = {"loss": loss, **(SMALL if envs < 100 else {"minibatch": 40_000})}

    def train(chosen: Sequence[int]) -> tuple[Tensor, ...]:
        pack = [SimpleQSettings.model_validate({"lr": 0.01 * (1 + run % 7), **settings}) for run in chosen]
        seeds = [run // 2 for run in chosen]
        leader = SimpleQLeader(pack, 3, 2, seeds)
        learn_chain(leader, seeds, envs, updates, spread=2)
        return leader.q, leader.policy, leader.noise

    check_any_pack(train, runs)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_values_of_a_chain_are_learned(loss: str) -> None:
    """Its rewards are certain, so either loss is right about them."""
    pack = [SimpleQSettings.model_validate({"loss": loss, "minibatch": 64, "target_update": 50})] * len(SEEDS)
    leader = SimpleQLeader(pack, 3, 2, SEEDS)
    learn_chain(leader, SEEDS, envs=20, updates=250)
    assert leader.policy.argmax(-1)[:, [0, 2]].tolist() == [[BEST[0], BEST[2]]] * len(SEEDS)
    torch.testing.assert_close(leader.q, VALUES.expand_as(leader.q), rtol=0, atol=0.1)


def test_the_behaviour_is_a_table_for_each_episode_and_the_policy_the_clean_one() -> None:
    leader = population()
    behaviour = leader.behaviour(50)
    assert behaviour.shape == (len(SEEDS), 50, STATES, ACTIONS)
    assert set(behaviour.unique().tolist()) == {0.0, 1.0}
    assert (behaviour.sum(-1) == 1).all()
    assert (behaviour[:, 0] != behaviour[:, 1]).any()
    assert torch.equal(leader.policy, torch.nn.functional.one_hot(leader.q.argmax(-1), ACTIONS).double())
    assert not torch.equal(leader.behaviour(50), behaviour)


def test_without_noise_to_speak_of_the_behaviour_is_the_policy() -> None:
    leader = population(noise=1e-9)
    assert torch.equal(leader.behaviour(6), leader.policy[:, None].expand(-1, 6, -1, -1))


def test_what_was_played_is_remembered() -> None:
    """Not what the clean table would have played, which teaches that the rewards of other actions are its own."""
    leader = population()
    batch = played(leader.behaviour(ENVS), torch.Generator().manual_seed(2))
    assert (batch.action != leader.policy.argmax(-1)[:, None].expand(-1, ENVS, -1).gather(2, batch.state)).any()
    leader.update(batch)
    assert leader._replay is not None
    steps = ENVS * STEPS
    remembered, rewards = leader._replay.sample(((torch.arange(steps) + 0.5) / steps).expand(len(SEEDS), -1))
    assert torch.equal(remembered // (STATES + 1) % ACTIONS, batch.action.flatten(1))
    assert torch.equal(remembered // (STATES + 1) // ACTIONS, batch.state.flatten(1))
    assert torch.equal(rewards, batch.reward.flatten(1))


def test_transitions_end_with_their_episode() -> None:
    state, action = torch.tensor([[[0, 2], [1, 1]]]), torch.tensor([[[1, 0], [0, 2]]])
    numbers = transitions(Batch.of(state, action, 3, torch.zeros(1, 2, 2)), states=3)
    triples = [(n // 4 // 3, n // 4 % 3, n % 4) for n in numbers[0].tolist()]
    assert triples == [(0, 1, 2), (2, 0, 3), (1, 0, 1), (1, 2, 3)]


@given(st.integers(1, 12), st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_the_replay_keeps_the_latest_steps(capacity: int, sizes: list[int]) -> None:
    replay, steps = Replay(2, capacity), torch.arange(sum(sizes))
    for part in steps.split(sizes):
        replay.append(torch.stack([part, part + 100]), torch.stack([part, -part]).double())
    filled = min(capacity, len(steps))
    assert replay.appended == len(steps)
    numbers, rewards = replay.sample(((torch.arange(filled) + 0.5) / filled).expand(2, -1))
    assert sorted(numbers[0].tolist()) == steps[-filled:].tolist()
    assert torch.equal(numbers[1], numbers[0] + 100)
    assert torch.equal(rewards, torch.stack([numbers[0], -numbers[0]]).double())


def test_the_buffer_is_no_larger_than_all_steps_there_will_be() -> None:
    leader = population(updates=7, buffer=1000)
    leader.update(played(leader.behaviour(ENVS), torch.Generator().manual_seed(2)))
    assert leader._replay is not None
    assert leader._replay.capacity == 7 * ENVS * STEPS


def test_learning_starts_and_the_target_table_is_refreshed_in_time() -> None:
    """Batches of 15 steps: the first gradient step is at 45, and refreshes at 60, 120, ..., each after the step."""
    leader, generator = population(target_update=50, learning_starts=40), torch.Generator().manual_seed(3)
    learned, refreshed = [], []
    for update in range(1, 13):
        q, values = leader.q.clone(), leader._values.clone()
        leader.update(played(leader.behaviour(ENVS), generator))
        learned += [update] * (not torch.equal(q, leader.q))
        refreshed += [update] * (not torch.equal(values, leader._values))
        if refreshed and refreshed[-1] == update:
            assert torch.equal(leader._values[:, :-1], leader.q.amax(-1))
            assert not leader._values[:, -1].any()
    assert learned == list(range(3, 13))
    assert refreshed == [4, 8, 12]


@pytest.mark.parametrize(("noise", "factor"), [(5.0, 1 / 1.01), (0.01, 1.01)])
def test_the_noise_goes_towards_a_small_divergence(noise: float, factor: float) -> None:
    leader = population(noise=noise)
    leader.update(played(leader.behaviour(ENVS), torch.Generator().manual_seed(4)))
    close(leader.noise, torch.full((len(SEEDS),), noise * factor, dtype=torch.float64))


def test_only_states_that_were_seen_count_for_the_noise() -> None:
    q = torch.zeros(2, STATES, ACTIONS, dtype=torch.float64)
    perturbed = q[:, None].clone()
    perturbed[..., 0, 0] = 3
    unseen, seen = torch.tensor([1, 2, 3]), torch.tensor([1, 0, 3])
    noise = torch.ones(2, dtype=torch.float64)
    assert adapted_noise(noise, q, perturbed, torch.stack([unseen, seen])[:, None]).tolist() == [1.01, 1 / 1.01]


def test_huber_caps_the_pull_of_a_large_error() -> None:
    """With certain rewards of 0 and rare ones of 30, the squared loss ends at the mean and Huber's near the median."""
    ends = []
    for loss in ("squared", "huber"):
        leader = SimpleQLeader([SimpleQSettings.model_validate({"loss": loss, "minibatch": 200})], 1, 1, [1])
        for _ in range(150):
            leader.behaviour(10)
            reward = torch.zeros(1, 10, 1, dtype=torch.float64)
            reward[0, 0] = 30
            leader.update(Batch(torch.zeros(1, 10, 1, dtype=torch.int64), 1, reward))
        ends.append(leader.q.item())
    assert ends[0] == pytest.approx(3, abs=0.7)
    assert ends[1] == pytest.approx(1 / 9, abs=0.1)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e308])
def test_a_run_that_diverges_shows_and_leaves_its_neighbours_alone(broken: float) -> None:
    sound, spoilt, generator = population(**SMALL), population(**SMALL), torch.Generator().manual_seed(5)
    for _ in range(8):
        batch = played(sound.behaviour(ENVS), generator)
        reward = batch.reward.clone()
        reward[1, ::2] = broken
        spoilt.behaviour(ENVS)
        sound.update(batch)
        spoilt.update(Batch(batch.decision, ACTIONS, reward))
    for name in ("q", "policy", "noise"):
        assert torch.equal(getattr(spoilt, name)[[0, 2]], getattr(sound, name)[[0, 2]])
    assert spoilt.policy[1].isnan().any()


@pytest.mark.parametrize(("batch_steps", "episode_steps", "episodes"), [(100, 8, 13), (96, 8, 12), (1, 8, 1)])
def test_episodes_are_whole(batch_steps: int, episode_steps: int, episodes: int) -> None:
    assert SimpleQSettings(batch_steps=batch_steps).episodes(episode_steps) == episodes
