"""Set-up that several test files share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stackpop.equilibria import known_truth
from stackpop.games import MATRICES, Payoffs
from stackpop.learners import COMPUTED_ORACLES, LEADERS, LEARNING_ORACLES, Batch, ContextualSettings
from stackpop.results import TrainingResult
from stackpop.settings import Settings
from stackpop.spec import RunSpec, SweepSpec
from stackpop.store import ResultsWriter
from stackpop.training import learned, train_followers, train_leaders

# Every leader and oracle by the name that a sweep file calls it.
ORACLES: tuple[type[Settings], ...] = (ContextualSettings, *COMPUTED_ORACLES, *LEARNING_ORACLES)
ORACLE_SETTINGS = {settings.model_fields["oracle"].default: settings for settings in ORACLES}
LEADER_SETTINGS = {settings.model_fields["algorithm"].default: settings for settings in LEADERS}

# A run's follower training (None where the oracle needs none) and its leader training.
Trained = tuple[TrainingResult | None, TrainingResult]


def run_spec(matrix: str = "prisoners_dilemma", payoffs: Payoffs | None = None, **settings: Any) -> RunSpec:
    """A run on a named game, or on given payoffs, with the defaults of everything that is not given."""
    chosen = MATRICES[matrix] if payoffs is None else payoffs
    return RunSpec.model_validate({"matrix": matrix, "payoffs": chosen, **settings})


def random_payoffs(seed: int, rows: int = 2, columns: int = 2) -> Payoffs:
    """Payoffs whose sums round, so that the order of additions shows in the bits."""
    cells = np.random.default_rng(seed).normal(size=(rows, columns, 2)).tolist()
    return tuple(tuple((leader, follower) for leader, follower in row) for row in cells)


def train(specs: Sequence[RunSpec]) -> list[Trained]:
    """Train all runs as one pack, their followers before them."""
    pretrained = [spec.follower_spec() for spec in specs]
    followers = {spec.follower_id: spec for spec in pretrained if spec is not None}
    results = train_followers(list(followers.values())) if followers else []
    trained = dict(zip(followers, results, strict=True))
    leaders = train_leaders(specs, {key: learned(result.arrays) for key, result in trained.items()})
    return [(trained[f.follower_id] if f else None, leader) for f, leader in zip(pretrained, leaders, strict=True)]


def trained_store(path: Path, spec: SweepSpec, left_out: int = 0) -> Path:
    """A store of a short sweep, trained in this process but for the last runs, with its exact values."""
    with ResultsWriter(path, spec) as writer:
        for place in np.ndindex(*(len(spec.labels[dim]) for dim in spec.game_dims)):
            of_game = dict(zip(spec.game_dims, place, strict=True))
            truth = asdict(known_truth(spec.run(tuple(of_game.get(dim, 0) for dim in spec.dims)).to_game()))
            exact = {f"equilibrium_{name}": truth[name] for name in ("pure", "resample", "behavioural")}
            bounds = {name: truth[name] for name in ("leader_return_min", "leader_return_max")}
            writer.record_ground_truth(place, exact | bounds)
        for index in list(spec.indices())[: spec.size - left_out]:
            ((follower, leader),) = train([spec.run(index)])
            writer.leaders.record(index, leader)
            if follower is not None and writer.followers is not None:
                at = dict(zip(spec.dims, index, strict=True))
                writer.followers.record(tuple(at[dim] for dim in spec.follower_dims), follower)
    return path


def check_same_bits(expected: TrainingResult | None, found: TrainingResult | None, where: str) -> None:
    """Two results have the same arrays, bit for bit."""
    assert (expected is None) == (found is None)
    if expected is None or found is None:
        return
    assert expected.error == found.error
    assert expected.arrays.keys() == found.arrays.keys()
    for name, array in expected.arrays.items():
        got = found.arrays[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape), f"{name} of {where}"
        assert got.tobytes() == array.tobytes(), f"{name} of {where} differs by {np.abs(got - array).max()}"


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Hold torch to a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def random_policy(generator: torch.Generator, *shape: int) -> Tensor:
    """Policies [..., action] with all probabilities positive."""
    return torch.softmax(torch.randn(*shape, generator=generator, dtype=torch.float64), -1)


def random_batch(generator: torch.Generator, runs: int, episodes: int, states: int, actions: int) -> Batch:
    """Episodes of one decision each, with returns of the size of the paper's games: about 15, either way."""
    shape = runs, episodes, 1
    state, action = (torch.randint(most, shape, generator=generator) for most in (states, actions))
    return Batch.of(state, action, actions, 6 * torch.randn(shape, generator=generator, dtype=torch.float64))


def reinforce_by_autograd(logits: Tensor, lr: float, batches: Sequence[tuple[tuple[Tensor, ...], Tensor]]) -> Tensor:
    """Logits [..., action] of one run after REINFORCE as written down: one loss a sample, autograd, torch's Adam.

    batches: indices of each sample's log-probability (its action last), and its return, all [sample].
    """
    table = logits.clone().requires_grad_()
    optimiser = torch.optim.Adam([table], lr=lr, eps=1e-8)
    for chosen, returns in batches:
        optimiser.zero_grad()
        (-(torch.log_softmax(table, -1)[chosen] * returns).mean()).backward()
        optimiser.step()
    return table.detach()
