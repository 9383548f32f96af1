"""Sweep texts, and what is made of them, that several files look at."""

from __future__ import annotations

import pytest

from stackpop.errors import SpecError
from stackpop.games import MATRICES
from stackpop.spec import RunSpec, parse_sweep

THREE_BY_THREE = "[[[1, 2], [1, 2], [1, 2]], [[1, 2], [1, 2], [1, 2]], [[1, 2], [1, 2], [1, 2]]]"

SWEEP = """
payoffs: {wide: [[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]]}
game: {memory: opponent}
axes:
  matrix: [hero, wide]
  leader.updates: [10, 30, 20]
  follower.post_updates: [0, 5]
  follower.lr: [0.1, 0.2]
  game.rounds: [5, 10]
  seed: [4, 2]
"""


def hero(**changes: object) -> RunSpec:
    return RunSpec.model_validate({"matrix": "hero", "payoffs": MATRICES["hero"], **changes})


def problem(text: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        parse_sweep(text, "file", overrides, source="f.yaml")
    return str(caught.value)
