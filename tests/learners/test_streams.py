"""Random numbers that depend on seed and phase alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from stackpop.learners import Phase, Streams

LARGEST_SEED = 2**63 - 1
SEEDS = [1, 7, 1, 0, LARGEST_SEED, 7]


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_run_draws_the_same_alone_and_in_a_pack(draw: str) -> None:
    packed = getattr(Streams(SEEDS, Phase.LEADER_TRAINING), draw)(4, 9)
    assert packed.shape == (len(SEEDS), 4, 9)
    for row, seed in zip(packed, SEEDS, strict=True):
        assert torch.equal(row, getattr(Streams([seed], Phase.LEADER_TRAINING), draw)(4, 9)[0])


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_blocks_of_any_size_continue_one_sequence(draw: str) -> None:
    whole = getattr(Streams(SEEDS, Phase.LEADER_EVALUATION), draw)(20, 3, 5)
    streams = Streams(SEEDS, Phase.LEADER_EVALUATION)
    parts = [getattr(streams, draw)(size, 3, 5) for size in (1, 7, 2, 10)]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_seeds_and_phases_have_streams_of_their_own() -> None:
    seeds = [0, 1, 2, 3, LARGEST_SEED]
    rows = torch.cat([Streams(seeds, phase).uniform(1000) for phase in Phase])
    assert len(rows) == len(seeds) * len(Phase)
    for one, other in itertools.combinations(rows, 2):
        assert not torch.isin(one, other).any()
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.2


def test_golden_values() -> None:
    """Philox4x64-10 keyed by (seed, phase), counter from 0: other numbers would make stored results incomparable."""
    uniforms = Streams([1, 7, LARGEST_SEED], Phase.LEADER_TRAINING).uniform(2).tolist()
    assert [[value.hex() for value in row] for row in uniforms] == [
        ["0x1.b431e267c6917p-1", "0x1.4e32254c0b1b2p-1"],
        ["0x1.1a8464a06ecd3p-1", "0x1.565f65ed6f180p-6"],
        ["0x1.033189208beaap-2", "0x1.ed075ec82dc59p-1"],
    ]
    normals = Streams([1], Phase.FOLLOWER_INIT).normal(3)[0].tolist()
    assert [value.hex() for value in normals] == [
        "0x1.053197c7442ddp+0",
        "0x1.84f9208f01294p-1",
        "-0x1.f779dcc2eab5ep-3",
    ]


def test_the_phases_keep_their_numbers() -> None:
    assert [phase.name for phase in sorted(Phase)] == [
        "FOLLOWER_INIT",
        "FOLLOWER_TRAINING",
        "FOLLOWER_EVALUATION",
        "LEADER_INIT",
        "LEADER_TRAINING",
        "LEADER_EVALUATION",
        "POST_TRAINING",
        "POST_EVALUATION",
        "LEADER_EXPLORATION",
        "LEADER_REPLAY",
        "TABULAR_Q",
        "TABULAR_Q_EVALUATION",
    ]
    assert sorted(Phase) == list(range(12))


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    draws = Streams([1, 2], Phase.FOLLOWER_TRAINING).uniform(100_000)
    assert draws.dtype == torch.float64
    assert (draws >= 0).all()
    assert (draws < 1).all()
    for row in draws:  # expectation 10,000 a tenth, standard deviation 95
        assert (torch.histc(row, 10, 0, 1) - 10_000).abs().max() < 500


def test_normals_are_standard() -> None:
    draws = Streams([1, 2], Phase.LEADER_INIT).normal(100_000)
    assert (draws.mean(1).abs() < 0.02).all()
    assert ((draws.std(1) - 1).abs() < 0.01).all()
