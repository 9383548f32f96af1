"""What a pair is worth: exact and sampled returns, regrets and gaps of recorded policies.

Nothing here feeds back into learning. Policies are recorded during training and evaluated afterwards,
many iterations in one tensor operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from stackpop import equilibria
from stackpop.games import (
    FOLLOWER,
    LEADER,
    Game,
    GameBatch,
    all_tables,
    policy_table_returns,
    table_index,
    table_returns,
)
from stackpop.games.play import asked_and_played, play_leader

# Entries of the largest intermediate tensor: small enough to stay in a core's cache.
BLOCK_ENTRIES = 2**18


@dataclass(frozen=True)
class ExactValues:
    """Exact values of each run's game.

    equilibrium: [run] the leader's return at the pure equilibrium.
    best_response: [run, context] the follower's best return against each leader table.
    rounding: [run] follower's returns that differ by no more are equal, summed in another order.
    """

    equilibrium: Tensor
    best_response: Tensor
    rounding: Tensor

    @staticmethod
    def of(games: Sequence[Game]) -> ExactValues:
        """Solve each distinct game once."""
        solved = [_solve(game) for game in games]
        return ExactValues(*(torch.stack(parts) for parts in zip(*solved, strict=True)))


@lru_cache(maxsize=256)
def _solve(game: Game) -> tuple[Tensor, ...]:
    best = equilibria.best_responses(game)
    equilibrium = torch.tensor(float(best.leader_optimistic.max()), dtype=torch.float64)
    rounding = torch.from_numpy(equilibria.rounding(GameBatch.of([game])))[FOLLOWER]
    return equilibrium, torch.from_numpy(best.follower_return), rounding


def context_chances(policy: Tensor) -> Tensor:
    """Chance of each combination of query answers: [run, iteration, state, action] -> [run, iteration, context]."""
    tables = all_tables(*policy.shape[-2:])  # [context, state]
    chances = policy[..., 0, :][..., tables[:, 0]]
    for state in range(1, policy.shape[-2]):
        chances = chances * policy[..., state, :][..., tables[:, state]]
    return chances


def evaluate(
    game: GameBatch, truth: ExactValues, policy: Tensor, replies: Tensor, *, replay: bool
) -> dict[str, Tensor]:
    """Exact returns, gap and regret of stochastic and greedy leaders, each [run, iteration].

    policy: [run, iteration, leader_state, row], with or without a query bit; replies: [run, iteration, context,
    follower_state] greedy actions of the contextual follower. Either iteration axis may have length 1.

    The regret is what the follower loses against its best response: to the leader's policy over all its
    deterministic tables, or with `replay`, where the answers are what is played, to each answer.
    """
    iterations = max(policy.shape[1], replies.shape[1])
    leader_tables = all_tables(game.leader_states, game.rows)
    asked, played = asked_and_played(policy, game.leader_states)
    chances = context_chances(asked)
    by_context = table_returns(game, leader_tables[None, None], replies)  # [run, iteration, context, player]
    if replay:
        stochastic = (chances.unsqueeze(-1) * by_context).transpose(-1, -2)
        best = (chances * truth.best_response[:, None]).sum(-1)
    else:
        against_tables = policy_table_returns(game, played).expand(-1, iterations, -1, -1)
        reply = table_index(replies, game.columns).expand(-1, iterations, -1)
        answered = against_tables.gather(2, reply.unsqueeze(-1).expand(*reply.shape, 2))
        stochastic = (chances.unsqueeze(-1) * answered).transpose(-1, -2)
        best = against_tables[..., FOLLOWER].amax(-1)
    leader_return, follower_return = stochastic.contiguous().sum(-1).unbind(-1)
    greedy_returns = _greedy_returns(game, asked.argmax(-1), (asked if replay else played).argmax(-1), replies)
    return {
        "leader_return": leader_return,
        "follower_return": follower_return,
        "leader_return_greedy": greedy_returns[..., LEADER],
        "follower_return_greedy": greedy_returns[..., FOLLOWER],
        "equilibrium_gap": truth.equilibrium[:, None] - leader_return,
        "follower_regret": best - follower_return,
    }


def _greedy_returns(game: GameBatch, answers: Tensor, table: Tensor, replies: Tensor) -> Tensor:
    """Returns [run, iteration, player] of leaders that give these answers and play this table.

    answers, table: [run, iteration, leader_state]; replies: as in `evaluate`.
    """
    iterations = max(answers.shape[1], replies.shape[1])
    context = table_index(answers, game.rows)[..., None, None].expand(-1, iterations, 1, replies.shape[-1])
    reply = replies.expand(-1, iterations, -1, -1).gather(2, context).squeeze(2)
    return table_returns(game, table, reply)


def sampled_returns(
    game: GameBatch, policy: Tensor, replies: Tensor, uniforms: Tensor, *, replay: bool
) -> tuple[Tensor, Tensor]:
    """Mean returns over sampled episodes, leader's and follower's, each [run, iteration].

    policy, replies: as in `evaluate`; uniforms: [run, iteration, env, leader_state + round].
    """
    runs, iterations, envs, steps = uniforms.shape
    flat = GameBatch(game.payoffs.repeat_interleave(iterations, 0), game.memory, game.rounds)
    policy, replies = (
        x.expand(runs, iterations, *x.shape[2:]).reshape(runs * iterations, *x.shape[2:]) for x in (policy, replies)
    )
    rounds = play_leader(flat, policy[:, None], replies, uniforms.view(-1, envs, steps), replay=replay).rounds
    leader, follower = mean_return(rounds.leader_rewards), mean_return(rounds.follower_rewards)
    return leader.view(runs, iterations), follower.view(runs, iterations)


def mean_return(rewards: Tensor) -> Tensor:
    """Mean over episodes of the undiscounted return: [run, env, round] -> [run].

    By a running sum: `sum` would split the many episodes of a lone run among threads, and round otherwise.
    """
    return rewards.flatten(1).cumsum(1)[:, -1] / rewards.shape[1]


def blocks(iterations: int, entries: int) -> Iterator[slice]:
    """Slices over the iterations such that `entries` numbers an iteration stay within a block's size."""
    size = max(1, BLOCK_ENTRIES // entries)
    for start in range(0, iterations, size):
        yield slice(start, min(start + size, iterations))
