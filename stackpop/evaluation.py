"""What a pair is worth: exact and sampled returns, regrets and gaps of recorded policies.

Nothing here feeds back into learning. Policies are recorded during training and evaluated afterwards,
many iterations in one tensor operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce

import torch
from torch import Tensor

from stackpop import equilibria
from stackpop.arrays import HOST, tensor_of
from stackpop.games import (
    FOLLOWER,
    LEADER,
    Game,
    GameBatch,
    all_tables,
    expected_returns,
    policy_table_returns,
    table_index,
    table_returns,
)
from stackpop.games.play import Rounds, asked_and_played, play_leader

# Entries of the largest intermediate tensor: small enough to stay in a core's cache.
BLOCK_ENTRIES = 2**16


@dataclass(frozen=True)
class ExactValues:
    """Exact values of each run's game.

    answers: [table, leader_state] leader tables: those of `equilibria.judged_tables`, all if the game is `enumerated`.
    equilibrium: [run] the leader's return at the pure equilibrium, if that is known in games of this shape, else NaN.
    best_response: [run, table] the follower's best return against each of the answers, in the same way.
    rounding: [run] follower's returns that differ by no more are equal, summed in another order.
    """

    answers: Tensor
    enumerated: bool
    knows_equilibrium: bool
    knows_best_response: bool
    equilibrium: Tensor
    best_response: Tensor
    rounding: Tensor

    @staticmethod
    def of(games: Sequence[Game]) -> ExactValues:
        """Solve each distinct game once, on the CPU; they share actions, memory and rounds."""
        with HOST:
            solved, answers = [_solve(game) for game in games], equilibria.judged_tables(games[0])
        values = (tensor_of(torch.stack(parts)) for parts in zip(*solved, strict=True))
        return ExactValues(tensor_of(answers), *_known(games[0]), *values)


def _known(game: Game) -> tuple[bool, bool, bool]:
    """Whether all tables can be enumerated, and the equilibrium and best responses be found, in games of a shape."""
    enumerated = equilibria.is_enumerable(game)
    return enumerated, enumerated or equilibria.walkable(game), equilibria.knows_regret(game)


@lru_cache(maxsize=256)
def _solve(game: Game) -> tuple[Tensor, ...]:
    rounding = torch.from_numpy(equilibria.rounding(GameBatch.of([game])))[FOLLOWER]
    if equilibria.is_enumerable(game):
        best = equilibria.best_responses(game)
        equilibrium, best_response = float(best.leader_optimistic.max()), torch.from_numpy(best.follower_return)
    else:
        equilibrium = equilibria.walked_commitment(game).optimistic if equilibria.walkable(game) else math.nan
        best_response = _walked_best_responses(game)
    return torch.tensor(equilibrium, dtype=torch.float64), best_response, rounding


def _walked_best_responses(game: Game) -> Tensor:
    """The follower's best return against each table that it is judged by, [table]; NaN where it is too much to find."""
    tables = equilibria.judged_tables(game)
    if not equilibria.knows_regret(game):
        return torch.full((len(tables),), math.nan, dtype=torch.float64)
    return torch.from_numpy(equilibria.walked_responses(game, tables).follower_return)


def context_chances(policy: Tensor) -> Tensor:
    """Chance of each combination of query answers: [run, iteration, state, action] -> [run, iteration, context]."""
    chances, *others = policy.unbind(-2)
    for by_action in others:  # the later a state, the faster its answer changes along the contexts
        chances = (chances.unsqueeze(-1) * by_action.unsqueeze(-2)).flatten(-2)
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
    one_round = 2 * game.runs * game.worlds
    stochastic = partial(_stochastic, game, truth, replay=replay)
    curves = in_blocks(stochastic, one_round * game.columns ** (game.follower_states - 1), policy, replies)
    return curves | in_blocks(partial(_greedy, game, replay=replay), one_round, policy, replies)


def _stochastic(
    game: GameBatch, truth: ExactValues, policy: Tensor, replies: Tensor, *, replay: bool
) -> dict[str, Tensor]:
    """Exact returns, gap and regret of stochastic leaders; see `evaluate`."""
    iterations = max(policy.shape[1], replies.shape[1])
    asked, played = asked_and_played(policy, game.leader_states)
    chances = context_chances(asked)
    if replay:
        leader_tables = all_tables(game.leader_states, game.rows)
        by_context = table_returns(game, leader_tables[None, None], replies)  # [run, iteration, context, player]
        stochastic = (chances.unsqueeze(-1) * by_context).transpose(-1, -2)
        best = (chances * truth.best_response[:, None]).sum(-1)
    else:
        against_tables = policy_table_returns(game, played).expand(-1, iterations, -1, -1)
        reply = table_index(replies, game.columns).expand(-1, iterations, -1)
        answered = against_tables.gather(2, reply.unsqueeze(-1).expand(*reply.shape, 2))
        stochastic = (chances.unsqueeze(-1) * answered).transpose(-1, -2)
        best = against_tables[..., FOLLOWER].amax(-1)
    leader_return, follower_return = stochastic.contiguous().sum(-1).unbind(-1)
    return {
        "leader_return": leader_return,
        "follower_return": follower_return,
        "equilibrium_gap": truth.equilibrium[:, None] - leader_return,
        "follower_regret": best - follower_return,
    }


def _greedy(game: GameBatch, policy: Tensor, replies: Tensor, *, replay: bool) -> dict[str, Tensor]:
    """Exact returns of leaders that take their likeliest actions; see `evaluate`."""
    iterations = max(policy.shape[1], replies.shape[1])
    asked, played = (part.argmax(-1) for part in asked_and_played(policy, game.leader_states))
    context = table_index(asked, game.rows)[..., None, None].expand(-1, iterations, 1, replies.shape[-1])
    reply = replies.expand(-1, iterations, -1, -1).gather(2, context).squeeze(2)
    leader_return, follower_return = table_returns(game, asked if replay else played, reply).unbind(-1)
    return {"leader_return_greedy": leader_return, "follower_return_greedy": follower_return}


def evaluate_answers(
    game: GameBatch, policy: Tensor, answers: Tensor, replies: Tensor, greedy_replies: Tensor, *, replay: bool
) -> dict[str, Tensor]:
    """Returns of stochastic and greedy leaders, each [run, iteration], where contexts are too many to enumerate.

    policy: as in `evaluate`; answers: [run, iteration, env, leader_state] sampled from it, and replies: [run,
    iteration, env, follower_state] actions of the follower that knows them; greedy_replies: [run, iteration,
    follower_state] those to the greedy answers. The returns of the stochastic leader are exact given the answers, and
    a mean over them; those of the greedy one are exact.
    """
    asked, played = asked_and_played(policy, game.leader_states)
    if replay:
        by_answer = table_returns(game, answers, replies)  # [run, iteration, env, player]
    else:
        reply = torch.nn.functional.one_hot(replies, game.columns).to(policy.dtype)
        by_answer = expected_returns(game, played[:, :, None], reply)
    leader_return, follower_return = (by_answer.cumsum(2)[:, :, -1] / by_answer.shape[2]).unbind(-1)
    greedy_returns = table_returns(game, (asked if replay else played).argmax(-1), greedy_replies)
    return {
        "leader_return": leader_return,
        "follower_return": follower_return,
        "leader_return_greedy": greedy_returns[..., LEADER],
        "follower_return_greedy": greedy_returns[..., FOLLOWER],
    }


def sampled_returns(
    game: GameBatch, policy: Tensor, replies: Tensor, uniforms: Tensor, *, replay: bool
) -> dict[str, Tensor]:
    """Mean returns over sampled episodes, each [run, iteration].

    policy, replies: as in `evaluate`; uniforms: [run, iteration, env, leader_state + round].
    """
    runs, iterations = uniforms.shape[:2]
    flat = game.repeat(iterations)
    policy, replies = (
        x.expand(runs, iterations, *x.shape[2:]).reshape(runs * iterations, *x.shape[2:]) for x in (policy, replies)
    )
    rounds = play_leader(flat, policy[:, None], replies, uniforms.flatten(0, 1), replay=replay).rounds
    return mean_returns(rounds, runs)


def mean_returns(rounds: Rounds, runs: int) -> dict[str, Tensor]:
    """Mean returns of the play of runs · iterations games, each [run, iteration]."""
    leader, follower = mean_return(rounds.leader_rewards), mean_return(rounds.follower_rewards)
    return {"leader_return_sampled": leader.view(runs, -1), "follower_return_sampled": follower.view(runs, -1)}


def mean_return(rewards: Tensor) -> Tensor:
    """Mean over episodes of the undiscounted return: [run, env, round] -> [run].

    By a running sum: `sum` would split the many episodes of a lone run among threads, and round otherwise.
    """
    returns = reduce(torch.add, rewards.unbind(-1))
    return returns.cumsum(1)[:, -1] / returns.shape[1]


def in_blocks(evaluated: Callable[..., dict[str, Tensor]], entries: int, *parts: Tensor) -> dict[str, Tensor]:
    """Evaluate iterations, a block of them at a time: curves [run, iteration].

    parts: [run, iteration, ...], the arguments; an iteration axis of length 1 stands for all. entries: how many numbers
    an iteration takes.
    """
    found = [
        evaluated(*(part[:, block] if part.shape[1] > 1 else part for part in parts))
        for block in blocks(max(part.shape[1] for part in parts), entries)
    ]
    return {name: torch.cat([each[name] for each in found], 1) for name in found[0]}


def blocks(iterations: int, entries: int, at_most: int | None = None) -> Iterator[slice]:
    """Slices over the iterations such that `entries` numbers an iteration stay within a block's size.

    at_most: iterations a slice.
    """
    size = max(1, min(BLOCK_ENTRIES // entries, at_most or iterations))
    for start in range(0, iterations, size):
        yield slice(start, min(start + size, iterations))
