"""The SimpleQ leader: one-step Q-learning on a table, with replay, a target table and parameter noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.learners.adam import Adam, spread
from stackpop.learners.batch import Batch, whole_episodes
from stackpop.learners.snapshot import Snapshot, joined, part, shared
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import greedy, normalised_init, sum_by_cell
from stackpop.settings import Settings


class SimpleQSettings(Settings):
    """Settings of the SimpleQ leader (the paper's "DQN", with the squared loss; returns are not discounted).

    lr: Adam's learning rate. updates: leader updates, of one gradient step each. batch_steps: environment
    steps a batch, rounded up to whole episodes. minibatch: replayed steps a gradient step. buffer: how
    many of the latest steps are kept for replay. target_update: steps between two refreshes of the target
    table. learning_starts: steps before the first gradient step. (All three count the steps that the
    leader learns from, without its query answers where those are hidden from it.) loss: half the squared
    error, or Huber's, which beyond an error of 1 grows linearly; undiscounted, Huber's loss overestimates.
    noise: standard deviation of the parameter noise at the start.
    """

    algorithm: Literal["simple_q"] = "simple_q"
    lr: PositiveFloat = 0.1
    updates: PositiveInt = 2000
    batch_steps: PositiveInt = 100
    minibatch: PositiveInt = 1024
    buffer: PositiveInt = 50_000
    target_update: PositiveInt = 500
    learning_starts: NonNegativeInt = 100
    loss: Literal["squared", "huber"] = "squared"
    noise: PositiveFloat = 1.0

    def episodes(self, episode_steps: int) -> int:
        """Leader episodes a batch."""
        return whole_episodes(self.batch_steps, episode_steps)


class SimpleQLeader:
    """A population of Q-learning leaders, tables of action values [run, state, action].

    Each episode is played greedily by a copy of the table with Gaussian noise on it. Settings other than
    the learning rate must be equal across the population.
    """

    recordable = False  # what is remembered grows, and the target is refreshed now and then

    def __init__(self, settings: Sequence[SimpleQSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        self.settings = settings[0]
        self.q = normalised_init(Streams(seeds, Phase.LEADER_INIT).normal(states, actions))
        self.policy = greedy(self.q)  # [run, state, action]
        self.noise = torch.full((len(seeds),), self.settings.noise, dtype=self.q.dtype)
        self._perturbed = self.q[:, None]  # [run, env, state, action] the tables last played with
        self._exploration, self._draws = (
            Streams(seeds, phase) for phase in (Phase.LEADER_EXPLORATION, Phase.LEADER_REPLAY)
        )
        self._adam = Adam(self.q, spread(torch.tensor([s.lr for s in settings], dtype=self.q.dtype), self.q))
        self._replay: Replay | None = None
        self._refresh(0)

    def behaviour(self, envs: int) -> Tensor:
        """The greedy policy of a freshly perturbed table for each episode: [run, env, state, action]."""
        noise = self._exploration.normal(envs, *self.q.shape[1:])
        self._perturbed = self.q[:, None] + noise * spread(self.noise, noise)
        return greedy(self._perturbed)

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, batch: Batch) -> None:
        """Remember a batch, as it was played, and make one gradient step on a minibatch of all that is remembered."""
        self.noise = adapted_noise(self.noise, self.q, self._perturbed, batch.state)
        if self._replay is None:
            steps_to_come = self.settings.updates * batch.decision[0].numel()
            self._replay = Replay(len(self.q), min(self.settings.buffer, steps_to_come))
        self._replay.append(transitions(batch, self.q.shape[1]), batch.reward.flatten(1))
        if self._replay.appended >= self.settings.learning_starts:
            self._learn(*self._replay.sample(self._draws.uniform(self.settings.minibatch)))
        if self._replay.appended - self._refreshed >= self.settings.target_update:
            self._refresh(self._replay.appended)
        self.policy = greedy(self.q)

    def _learn(self, transition: Tensor, reward: Tensor) -> None:
        """One step of Adam on the mean loss of Q(s, a) - (r + max Q'(s', ·)) over samples [run, sample]."""
        # All that Q and Q' contribute to the error: [run, state · action, next state].
        expected = self.q.flatten(1)[..., None] - self._values[:, None]
        error = expected.flatten(1).gather(1, transition).sub_(reward)
        if self.settings.loss == "huber":
            error.clamp_(-1, 1)
        errors = sum_by_cell(transition, error, expected[0].numel()).view_as(expected).cumsum(-1)[..., -1]
        torch.div(errors.view_as(self.q), transition.shape[1], out=self._adam.gradient)
        self._adam.step()

    def snapshot(self) -> Snapshot:
        """See `Leader`; with all that is remembered, it is far larger than those of the others."""
        parts = {name: each.snapshot() for name, each in self._parts().items()}
        refreshed = shared(self._refreshed, len(self.q))
        return {**joined(parts), "noise": self.noise, "values": self._values, "refreshed": refreshed}

    def restore(self, snapshot: Snapshot) -> None:
        """See `Leader`."""
        if remembered := part(snapshot, "replay"):
            self._replay = Replay(*remembered["reward"].shape)
        for name, each in self._parts().items():
            each.restore(part(snapshot, name))
        self.noise, self._values, self._refreshed = snapshot["noise"], snapshot["values"], int(snapshot["refreshed"][0])
        self.policy = greedy(self.q)

    def _parts(self) -> dict[str, Adam | Streams | Replay]:
        parts: dict[str, Adam | Streams | Replay] = {
            "adam": self._adam,
            "exploration": self._exploration,
            "draws": self._draws,
        }
        return parts if self._replay is None else {**parts, "replay": self._replay}

    def _refresh(self, steps: int) -> None:
        """Bootstrap from the present table from now on; past the last step, "state" `states`, nothing is earned."""
        self._values, self._refreshed = torch.nn.functional.pad(self.q.amax(-1), (0, 1)), steps


class Replay:
    """The latest steps of every run, [run, slot] transitions and rewards; a new step takes the oldest one's slot."""

    def __init__(self, runs: int, capacity: int) -> None:
        self.capacity, self.appended = capacity, 0
        self._transition = torch.zeros(runs, capacity, dtype=torch.int64)
        self._reward = torch.zeros(runs, capacity, dtype=torch.float64)

    def snapshot(self) -> Snapshot:
        """All of it."""
        appended = shared(self.appended, len(self._reward))
        return {"transition": self._transition, "reward": self._reward, "appended": appended}

    def restore(self, snapshot: Snapshot) -> None:
        """Remember what a snapshot does, of the same capacity."""
        self._transition, self._reward = snapshot["transition"], snapshot["reward"]
        self.appended = int(snapshot["appended"][0])

    def append(self, transition: Tensor, reward: Tensor) -> None:
        """Remember [run, step]; of more than the capacity, the last."""
        self.appended += transition.shape[1]
        kept = min(transition.shape[1], self.capacity)
        slots = torch.arange(self.appended - kept, self.appended) % self.capacity
        self._transition[:, slots] = transition[:, -kept:]
        self._reward[:, slots] = reward[:, -kept:]

    def sample(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Transitions and rewards of steps drawn evenly with replacement: [run, sample] each."""
        slots = (uniforms * min(self.appended, self.capacity)).long()
        return self._transition.gather(1, slots), self._reward.gather(1, slots)


def transitions(batch: Batch, states: int) -> Tensor:
    """The triple (state, action, next state) of each step as one number: [run, step] of all episodes in a row.

    It counts through states · actions · (states + 1) triples; the next state of an episode's last step is `states`.
    """
    following = torch.cat([batch.state[..., 1:], torch.full_like(batch.state[..., :1], states)], -1)
    return (batch.decision * (states + 1) + following).flatten(1)


def adapted_noise(noise: Tensor, q: Tensor, perturbed: Tensor, state: Tensor) -> Tensor:
    """The next standard deviation of parameter noise, [run] (Plappert et al., 2018, appendix C).

    perturbed: [run, env, state, action] what was played with; state: [run, env, step] where. The noise grows while
    the mean divergence of what it does to the policy is at most that of acting at random once in a hundred steps.
    """
    # The policy is the softmax of Q and its divergence KL(clean || noisy), over the states that were seen, as in RLlib.
    # RLlib's aim follows the epsilon-greedy play that it adds on top, 1 for 10,000 steps and 0.01 from then on. Here
    # nothing is added, so the aim is the final one throughout.
    epsilon, actions = 0.01, q.shape[-1]
    aim = -math.log(1 - epsilon + epsilon / actions)
    clean, noisy = torch.log_softmax(q, -1)[:, None], torch.log_softmax(perturbed, -1)
    divergence = (clean.exp() * (clean - noisy)).cumsum(-1)[..., -1]  # [run, env, state]
    seen = divergence.gather(-1, state).flatten(1)
    return torch.where(seen.cumsum(1)[:, -1] / seen.shape[1] <= aim, noise * 1.01, noise / 1.01)
