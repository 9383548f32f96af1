"""A decision of two steps for leaders to learn, with known values: the first action that pays less leads further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stackpop.games.play import sample_actions
from stackpop.learners import Phase, Streams
from stackpop.learners.batch import Batch
from support import torch_threads

STATES, ACTIONS, STEPS = 3, 2, 2
# [state, action]: the episode starts in state 0; its first action leads to state 1 + action, its second ends it.
PAYS = torch.tensor([[1, 0], [-1, -2], [3, 0]], dtype=torch.float64)
VALUES = torch.tensor([[0, 3], [-1, -2], [3, 0]], dtype=torch.float64)
BEST = [1, 0, 0]
# Envs, updates and runs: torch splits reductions of more than 32,768 numbers among threads if there is but one run.
LONG = (20_000, 1, 3)


class Learner(Protocol):
    """What of a leader is needed to play it."""

    policy: Tensor

    def behaviour(self, envs: int) -> Tensor: ...
    def update(self, batch: Batch) -> None: ...


def play_chain(behaviour: Tensor, uniforms: Tensor, pays: Tensor = PAYS) -> Batch:
    """Episodes of the chain: uniforms [run, env, step]; pays [state, action] or [run, env, state, action]."""
    runs, envs, _ = uniforms.shape
    behaviour = behaviour.expand(runs, envs, -1, -1)
    first = sample_actions(behaviour[:, :, 0], uniforms[..., 0])
    there = (1 + first)[..., None, None].expand(-1, -1, 1, ACTIONS)
    second = sample_actions(behaviour.gather(2, there)[:, :, 0], uniforms[..., 1])
    state = torch.stack([torch.zeros_like(first), 1 + first], -1)
    action = torch.stack([first, second], -1)
    return Batch.of(
        state, action, ACTIONS, pays.expand(runs, envs, -1, -1).flatten(2).gather(2, state * ACTIONS + action)
    )


def learn_chain(leader: Learner, seeds: Sequence[int], envs: int, updates: int, spread: float = 0) -> None:
    """Train on the chain; with a spread the payoffs are noisy, and their sums round."""
    streams = Streams(seeds, Phase.LEADER_TRAINING)
    for _ in range(updates):
        pays = PAYS + spread * streams.normal(envs, STATES, ACTIONS)
        leader.update(play_chain(leader.behaviour(envs), streams.uniform(envs, STEPS), pays))


def check_any_pack(train: Callable[[Sequence[int]], tuple[Tensor, ...]], runs: int) -> None:
    """Runs trained alone, in smaller packs and in any order have the bits they have in one pack of all.

    train: trains the runs of these numbers as one pack; what it returns are tensors [run, ...].
    """
    with torch_threads(1):
        expected = train(range(runs))
    order = np.random.default_rng(1).permutation(runs).tolist()
    for first, size, threads in ((0, 1, 1), (2, 1, 2), (1, 2, 1), (0, 3, 2), (2, 7, 1), (0, runs, 2)):
        if first + size > runs:
            continue
        chosen = order[first : first + size]
        with torch_threads(threads):
            found = train(chosen)
        for all_runs, these in zip(expected, found, strict=True):
            assert torch.equal(all_runs[chosen], these), f"{size} runs with {threads} threads"
