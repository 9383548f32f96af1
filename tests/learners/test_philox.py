"""Random numbers as tensor operations: those that were published, and those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stackpop.learners import Phase, Streams
from stackpop.learners import streams as streams_module
from stackpop.learners.philox import DevicePhilox, philox

WORDS = st.integers(0, 2**64 - 1)
# counter, key and block of "philox4x64 10" in tests/kat_vectors of Random123
PUBLISHED = [
    ([0] * 4, [0] * 2, [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]),
    (
        [2**64 - 1] * 4,
        [2**64 - 1] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]


def block(counter: list[int], key: list[int]) -> list[int]:
    counters, keys = (torch.from_numpy(np.array(each, np.uint64).view(np.int64))[:, None] for each in (counter, key))
    return [word % 2**64 for word in philox(counters, keys).flatten().tolist()]


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_published_blocks(counter: list[int], key: list[int], expected: list[int]) -> None:
    assert block(counter, key) == expected


@given(st.lists(WORDS, min_size=4, max_size=4), st.lists(WORDS, min_size=2, max_size=2))
def test_blocks_are_numpys(counter: list[int], key: list[int]) -> None:
    before = sum(word << 64 * place for place, word in enumerate(counter)) - 1  # NumPy counts on before a block
    theirs = np.random.Philox(counter=before % 2**256, key=sum(word << 64 * place for place, word in enumerate(key)))
    assert block(counter, key) == theirs.random_raw(4).tolist()


@given(st.integers(0, 2**63 - 1), st.sampled_from(Phase), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_uniforms_continue_numpys_stream(seed: int, phase: Phase, sizes: list[int]) -> None:
    stream, theirs = DevicePhilox([(seed, int(phase))]), Streams([seed], phase)
    for size in sizes:
        assert torch.equal(stream.uniform(size), theirs.uniform(size))


def test_streams_of_a_device_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [3, 1, 3]
    expected = Streams(seeds, Phase.LEADER_TRAINING).uniform(5, 7)
    monkeypatch.setattr(streams_module, "NUMPY_DEVICES", frozenset())
    streams = Streams(seeds, Phase.LEADER_TRAINING)
    assert torch.equal(torch.cat([streams.uniform(2, 7), streams.uniform(3, 7)], 1), expected)


def test_normals_of_a_device_are_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "NUMPY_DEVICES", frozenset())
    numbers = Streams([1, 2], Phase.LEADER_EXPLORATION).normal(50_000)
    assert torch.isfinite(numbers).all()
    for power, moment in enumerate((0.0, 1.0, 0.0, 3.0), 1):
        spread = {1: 1, 2: 2, 3: 15, 4: 96}[power]  # variance of a normal number's power
        assert ((numbers**power).mean(1) - moment).abs().max() < 4 * (spread / 50_000) ** 0.5
