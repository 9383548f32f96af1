"""What the command answers, looked at, and stores with known returns for it to tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from command import TINY, Answer
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec
from stackpop.store import ResultsWriter

Call = Callable[..., Answer]

RATES = TINY.replace("seed: [1, 2]", "seed: [1, 2, 3, 4, 5]").replace("  matrix:", "  leader.lr: [0.1, 0.2]\n  matrix:")
CLAIMS = """\
claims:
  - text: A higher rate earns more.
    left: {variable: leader_return, leader.lr: 0.2}
    relation: greater
    right: {variable: leader_return, leader.lr: 0.1}
  - text: No game is better than chicken.
    left: {variable: leader_return, matrix: battle}
    relation: at_most
    right: {variable: leader_return, matrix: chicken}
    note: Ours differ in payoffs.
"""


def check_mistake(answer: Answer, *words: str, code: int = 2) -> None:
    """One clear line, no more, and the exit code."""
    lines = answer.err.splitlines()
    assert answer.code == code, answer
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]


def write_results(spec: SweepSpec, store: Path, leader_return: Callable[[tuple[int, ...]], float]) -> None:
    """A finished store with a constant curve a run."""
    with ResultsWriter(store, spec) as writer:
        for index in np.ndindex(*(len(spec.labels[dim]) for dim in spec.game_dims)):
            writer.record_ground_truth(index, {"equilibrium_pure": 0.0})
        for index in spec.indices():
            curve = np.full(4, leader_return(index))
            names = ("leader_return", "leader_return_greedy", "equilibrium_gap")
            writer.leaders.record(index, TrainingResult(dict.fromkeys(names, curve)))


def rows_of(answer: Answer, dims: int) -> list[list[str]]:
    """The words of the final table's rows that name a game: labels of the dims, equilibrium, leader's return, …"""
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split() for line in answer.out.splitlines()]
    return [words for words in lines if set(words[:dims]) & {"chicken", "battle"}]


def row_of(answer: Answer, *start: str) -> list[str]:
    """The words of the only row that starts with some words, without these."""
    lines = [line.split() for line in answer.out.splitlines()]
    (found,) = [words[len(start) :] for words in lines if words[: len(start)] == list(start)]
    return found
