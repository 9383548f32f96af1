"""A run's result does not depend on its pack: every array has the same bits alone and among unlike neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from populations import LEADERS, NETWORK, NETWORK_LEADERS, ORACLES, PROTOCOLS, SHAPES, population
from stackpop.games import Memory
from stackpop.results import TrainingResult
from stackpop.spec import QUERYLESS_ORACLES, RunSpec
from stackpop.training import packs
from support import check_same_bits, torch_threads, train

# Windows of a fixed shuffle of all runs: first position, size, torch threads.
WINDOWS = [(0, 1, 1), (30, 1, 1), (63, 1, 2), (1, 2, 1), (5, 3, 1), (9, 7, 2), (40, 17, 1)]


@pytest.fixture(autouse=True)
def whole_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in a pack is tried again run by run: that gives the same bits, and hides that there is no pack."""
    train_pack, depth = packs._timed, 0

    def watched(*arguments: Any) -> list[TrainingResult]:
        nonlocal depth
        assert depth == 0, "a pack was divided"
        depth += 1
        try:
            return train_pack(*arguments)
        finally:
            depth -= 1

    monkeypatch.setattr(packs, "_timed", watched)


def check_windows(specs: Sequence[RunSpec], windows: Sequence[tuple[int, int, int]]) -> None:
    """Train all runs as one pack, and again in smaller packs of shuffled runs: all bits must be equal."""
    assert len({spec.pack_key for spec in specs}) == 1
    assert len({spec.run_id for spec in specs}) == len(specs)
    with torch_threads(1):
        expected = train(specs)
    assert not any(leader.error for _, leader in expected)
    order = np.random.default_rng(1).permutation(len(specs))
    for first, size, threads in windows:
        chosen = order[first : first + size]
        with torch_threads(threads):
            found = train([specs[i] for i in chosen])
        for i, result in zip(chosen, found, strict=True):
            for one, other in zip(expected[i], result, strict=True):
                check_same_bits(one, other, f"run {i} in a pack of {size} with {threads} threads")


@pytest.mark.parametrize(("memory", "actions"), SHAPES, ids=[f"{memory}-{n}x{n}" for memory, n in SHAPES])
@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("leader", LEADERS)
def test_packs_of_any_size(leader: str, oracle: str, memory: Memory, actions: int) -> None:
    for protocol in PROTOCOLS if ORACLES[oracle]["oracle"] not in QUERYLESS_ORACLES else PROTOCOLS[:1]:
        check_windows(population(LEADERS[leader], ORACLES[oracle], protocol, memory, actions), WINDOWS)


@pytest.mark.parametrize("leader", NETWORK_LEADERS)
@pytest.mark.parametrize("oracle", ["exact", "contextual"])
def test_packs_of_networks(leader: str, oracle: str) -> None:
    follower = NETWORK if oracle == "contextual" else ORACLES[oracle]
    for protocol in PROTOCOLS:
        check_windows(population(NETWORK_LEADERS[leader], follower, protocol, "joint", 2), WINDOWS)


@pytest.mark.parametrize("protocol", PROTOCOLS[:2], ids=["resample", "replay"])
def test_packs_of_games_whose_contexts_are_too_many(protocol: dict[str, Any]) -> None:
    check_windows(population(NETWORK_LEADERS["ppo-mlp"], NETWORK, protocol, "joint", 3), WINDOWS)


@pytest.mark.parametrize("leader", [*LEADERS, *NETWORK_LEADERS])
def test_many_updates(leader: str) -> None:
    """Rare differences in the last bit add up over the updates until they show."""
    settings = {**LEADERS, **NETWORK_LEADERS}[leader] | {"updates": 60}
    specs = population(settings, ORACLES["exact"], PROTOCOLS[0], "joint", 2)[:9]
    check_windows(specs, [(0, 1, 1), (4, 1, 1), (8, 1, 1), (2, 4, 1)])


@pytest.mark.parametrize("leader", [*LEADERS, *NETWORK_LEADERS])
def test_batches_long_enough_to_split_among_threads(leader: str) -> None:
    """Torch splits reductions of more than 32,768 numbers among threads, where there is but one run to work on."""
    chosen = {**LEADERS, **NETWORK_LEADERS}[leader]
    size = {"population": 12_000} if "population" in chosen else {"batch_steps": 60_000}
    settings = {**chosen, "updates": 1, **size}
    follower = {**(NETWORK if leader in NETWORK_LEADERS else ORACLES["contextual"]), "batch_steps": 60_000}
    follower |= {"updates": 1, "post_updates": 1}
    specs = population(settings, follower, PROTOCOLS[0], "opponent", 2, episodes=10_000)[:4]
    check_windows(specs, [(i, 1, threads) for i, threads in itertools.product(range(4), (1, 2))])
