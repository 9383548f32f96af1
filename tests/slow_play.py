"""Repeated play in plain Python, one round at a time, written from EXPERIMENTS.md section 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stackpop.games import FOLLOWER, LEADER, Game, Memory

SlowPlayer = Callable[[int, int], int]  # (round, its state) -> action
MEMORIES: list[Memory] = ["none", "opponent", "joint"]


@dataclass(frozen=True)
class SlowRound:
    """One round: the world state before it, the actions, and both payoffs with the offset."""

    world: int
    a: int
    b: int
    leader_reward: float
    follower_reward: float


def observed(game: Game, last: tuple[int, int] | None, player: int) -> int:
    """What a player remembers of the last round's actions (a, b); None before the first round."""
    if game.memory == "none" or last is None:
        return 0
    if game.memory == "joint":
        return 1 + last[LEADER] + game.rows * last[FOLLOWER]
    return 1 + last[FOLLOWER if player == LEADER else LEADER]


def by_table(table: Sequence[int]) -> SlowPlayer:
    """A player that follows a table state -> action."""
    return lambda _, state: table[state]


def by_policy(policy: Sequence[Sequence[float]], draws: Sequence[float]) -> SlowPlayer:
    """A player that samples from a policy state -> probabilities, with one draw a round."""
    return lambda t, state: sampled(policy[state], draws[t])


def sampled(probabilities: Sequence[float], u: float) -> int:
    """The first action whose cumulative probability exceeds u."""
    totals = list(itertools.accumulate(probabilities))
    return next((action for action, total in enumerate(totals[:-1]) if u < total), len(totals) - 1)


def play(game: Game, leader: SlowPlayer, follower: SlowPlayer) -> list[SlowRound]:
    """The rounds of one episode."""
    history: list[SlowRound] = []
    last: tuple[int, int] | None = None
    for t in range(game.rounds):
        world = 0 if last is None else 1 + last[0] + game.rows * last[1]
        a, b = leader(t, observed(game, last, LEADER)), follower(t, observed(game, last, FOLLOWER))
        leader_payoff, follower_payoff = game.payoffs[a][b]
        history.append(SlowRound(world, a, b, leader_payoff + game.reward_offset, follower_payoff + game.reward_offset))
        last = a, b
    return history


def returns(history: list[SlowRound]) -> tuple[float, float]:
    """Leader's and follower's return."""
    return sum(r.leader_reward for r in history), sum(r.follower_reward for r in history)


def random_game(
    generator: torch.Generator, rows: int, columns: int, memory: Memory, rounds: int, offset: float = -2.5
) -> Game:
    """Payoffs in quarters from -5 to 5: their sums are exact, in whatever order."""
    cells = torch.randint(-20, 21, (rows, columns, 2), generator=generator) / 4
    return Game(tuple(tuple((x, y) for x, y in row) for row in cells.tolist()), memory, rounds, offset)


def random_uniforms(generator: torch.Generator, *shape: int) -> Tensor:
    """Draws in [0, 1)."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def random_policies(generator: torch.Generator, *shape: int) -> Tensor:
    """Probabilities along the last axis, every action possible."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64).add(0.1).log().softmax(-1)
