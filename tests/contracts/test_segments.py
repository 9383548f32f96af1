"""A training cut into segments gives the bits of a whole one, in whatever packs its segments are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from populations import LEADERS, NETWORK, NETWORK_LEADERS, ORACLES, PROTOCOLS, population
from stackpop.learners import Phase, Streams
from stackpop.results import TrainingResult
from stackpop.spec import RunSpec
from stackpop.training import learned, train_followers, train_leaders
from support import check_same_bits

UPDATES = 7
# Segments of so many updates, after each of which the packs are divided: the pack's size then, and where it begins.
CUTS = [(1, 5), (3, 2), (2, 3), (1, 1)]


def trained_followers(specs: Sequence[RunSpec]) -> Mapping[str, np.ndarray]:
    followers = {spec.follower_id: spec for run in specs if (spec := run.follower_spec())}
    results = train_followers(list(followers.values())) if followers else []
    return {key: learned(result.arrays) for key, result in zip(followers, results, strict=True)}


def check_segments(specs: Sequence[RunSpec]) -> None:
    """Train runs whole, and cut into segments, each in packs of another size."""
    followers = trained_followers(specs)
    expected = train_leaders(specs, followers)
    assert not any(result.error or result.unfinished for result in expected)
    found: list[TrainingResult] = [TrainingResult({})] * len(specs)
    for segment, size in CUTS:
        assert found[0].unfinished or not found[0].arrays
        packs = [slice(first, first + size) for first in range(0, len(specs), size)]
        found = [
            result
            for pack in packs
            for result in train_leaders(specs[pack], followers, segment=segment, earlier=found[pack])
        ]
    for run, (whole, cut) in enumerate(zip(expected, found, strict=True)):
        assert not cut.unfinished
        check_same_bits(whole, cut, f"run {run}, cut")


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("leader", LEADERS)
def test_every_learner(leader: str, oracle: str) -> None:
    settings = {**LEADERS[leader], "updates": UPDATES}
    check_segments(population(settings, ORACLES[oracle], PROTOCOLS[0], "joint", 2)[:6])


@pytest.mark.parametrize("leader", NETWORK_LEADERS)
@pytest.mark.parametrize("actions", [2, 3])
def test_networks(leader: str, actions: int) -> None:
    """With three actions, contexts are too many to enumerate."""
    settings = {**NETWORK_LEADERS[leader], "updates": UPDATES}
    check_segments(population(settings, NETWORK, PROTOCOLS[1], "joint", actions)[:6])


def test_a_replay_that_is_full_and_targets_that_are_refreshed() -> None:
    settings = {"algorithm": "simple_q", "minibatch": 64, "buffer": 150, "target_update": 130, "updates": UPDATES}
    check_segments(population(settings, ORACLES["exact"], PROTOCOLS[0], "joint", 2)[:6])


def test_times_add_up_over_segments() -> None:
    specs = population({"algorithm": "pg", "updates": 2}, ORACLES["exact"], PROTOCOLS[0], "none", 2)[:1]
    (first,) = train_leaders(specs, {}, segment=1)
    (second,) = train_leaders(specs, {}, segment=1, earlier=[first])
    assert first.unfinished
    assert not second.unfinished
    assert second.started == first.started
    assert second.wall_seconds > first.wall_seconds > 0


def test_what_fails_in_a_later_segment_leaves_its_neighbours() -> None:
    specs = population({"algorithm": "pg", "updates": 2}, ORACLES["exact"], PROTOCOLS[0], "none", 2)[:3]
    expected = train_leaders(specs, {})
    earlier = train_leaders(specs, {}, segment=1)
    del earlier[1].arrays["leaders.params0"]
    found = train_leaders(specs, {}, segment=1, earlier=earlier)
    assert found[1].error
    for k in (0, 2):
        check_same_bits(expected[k], found[k], f"neighbour {k}")


def test_streams_go_on_in_the_middle_of_a_block_of_words() -> None:
    """Philox makes four words at a time, and normal numbers take as many of them as it happens."""
    whole, cut = (Streams([3, 1, 3], Phase.LEADER_TRAINING) for _ in range(2))
    for size in (1, 2, 6, 3):
        expected = [whole.uniform(size), whole.normal(size)]
        found = [cut.uniform(size), cut.normal(size)]
        resumed = Streams([1, 3], Phase.LEADER_TRAINING)
        resumed.restore({name: tensor[[1, 0]] for name, tensor in cut.snapshot().items()})
        cut = Streams([3, 1, 3], Phase.LEADER_TRAINING)
        cut.restore({name: tensor[[1, 0, 1]] for name, tensor in resumed.snapshot().items()})
        for one, other in zip(expected, found, strict=True):
            assert one.numpy().tobytes() == other.numpy().tobytes()
