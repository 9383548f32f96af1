"""Games, and a slow reference in plain Python that shares nothing with the code under test."""

from __future__ import annotations

import itertools

import torch
from hypothesis import strategies as st

from stackpop.equilibria.policy_returns import Array
from stackpop.games import MATRICES, Game, GameBatch, Memory, all_tables, expected_returns

CONITZER_SANDHOLM = (((2.0, 1.0), (4.0, 0.0)), ((1.0, 0.0), (3.0, 1.0)))


def raw(name: str, memory: Memory = "joint", rounds: int = 10) -> Game:
    return Game(MATRICES[name], memory, rounds, reward_offset=0.0)


@st.composite
def games(draw: st.DrawFn, most_actions: int = 2, most_rounds: int = 4) -> Game:
    rows, columns = draw(st.integers(1, most_actions)), draw(st.integers(1, most_actions))
    memories: list[Memory] = ["none", "opponent", "joint"]
    memory = draw(st.sampled_from(memories if rows * columns <= 4 else memories[:2]))
    # Tenths are not exact in binary, so sums in different orders differ by rounding and must still tie.
    payoff = st.integers(-20, 20).map(lambda tenths: tenths / 10)
    payoffs = tuple(tuple((draw(payoff), draw(payoff)) for _ in range(columns)) for _ in range(rows))
    return Game(payoffs, memory, draw(st.integers(1, most_rounds)), draw(payoff))


def played(game: Game, leader: tuple[int, ...], follower: tuple[int, ...]) -> tuple[float, float]:
    """Returns of one episode, round by round, with the memory encodings written out."""
    totals, last = [0.0, 0.0], None
    for _ in range(game.rounds):
        seen = (0, 0)
        if last is not None and game.memory == "opponent":
            seen = (1 + last[1], 1 + last[0])
        elif last is not None and game.memory == "joint":
            seen = (1 + last[0] + game.rows * last[1],) * 2
        last = (leader[seen[0]], follower[seen[1]])
        for player in (0, 1):
            totals[player] += game.payoffs[last[0]][last[1]][player] + game.reward_offset
    return totals[0], totals[1]


def reference(game: Game) -> list[tuple[float, float, float, tuple[int, ...]]]:
    """For each leader table: the best response's return, the leader's best and worst under it, the response."""
    followers = list(itertools.product(range(game.columns), repeat=game.follower_states))
    answers = []
    for leader in itertools.product(range(game.rows), repeat=game.leader_states):
        returns = [played(game, leader, follower) for follower in followers]
        best = max(r[1] for r in returns)
        tied = [i for i, r in enumerate(returns) if r[1] > best - 1e-9]
        most, least = max(returns[i][0] for i in tied), min(returns[i][0] for i in tied)
        first = next(i for i in tied if returns[i][0] > most - 1e-9)
        answers.append((best, most, least, followers[first]))
    return answers


def exact_returns(game: Game, policy: Array) -> Array:
    """Returns [follower_table, player] by the games' own recursion."""
    replies = torch.nn.functional.one_hot(all_tables(game.follower_states, game.columns), game.columns).double()
    return expected_returns(GameBatch.of([game]), torch.from_numpy(policy)[None, None], replies[None])[0].numpy()
