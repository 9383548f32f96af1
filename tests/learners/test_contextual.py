"""The contextual follower beside REINFORCE as written down."""

from __future__ import annotations

import torch

from stackpop.games import MATRICES, Game, GameBatch, Memory, all_tables
from stackpop.learners import ContextualSettings
from stackpop.learners.contextual import ContextualTables
from support import reinforce_by_autograd

RUNS, CONTEXTS, STATES, ACTIONS, ENVS, ROUNDS = 2, 8, 3, 2, 7, 5


def game(memory: Memory) -> GameBatch:
    return GameBatch.of([Game(MATRICES["hero"], memory)])


def test_updates_agree_with_one_loss_a_sample() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(RUNS, CONTEXTS, STATES, ACTIONS, generator=generator, dtype=torch.float64)
    rates = (0.02, 0.3)
    follower = ContextualTables([ContextualSettings(lr=lr) for lr in rates], start.clone(), game("opponent"))
    batches: list[tuple[torch.Tensor, ...]] = []
    for _ in range(40):
        context = torch.randint(CONTEXTS, (RUNS, ENVS), generator=generator)
        state = torch.randint(STATES, (RUNS, ENVS, ROUNDS), generator=generator)
        action = torch.randint(ACTIONS, (RUNS, ENVS, ROUNDS), generator=generator)
        returns = torch.randn(RUNS, ENVS, ROUNDS, generator=generator, dtype=torch.float64)
        follower.update(context, state * ACTIONS + action, returns)
        every_round = context[..., None].expand_as(state)
        batches.append(tuple(x.flatten(1) for x in (every_round, state, action, returns)))
    for run, lr in enumerate(rates):
        own = [((context[run], state[run], action[run]), to_go[run]) for context, state, action, to_go in batches]
        expected = reinforce_by_autograd(start[run], lr, own)
        torch.testing.assert_close(follower.parameters[run], expected, rtol=1e-9, atol=1e-9)
    every_context = torch.arange(CONTEXTS).expand(RUNS, -1)
    torch.testing.assert_close(follower.policy_at(every_context), torch.softmax(follower.parameters, -1))


def test_replies_are_greedy_and_the_first_of_equals() -> None:
    logits = torch.tensor([[[[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]]], dtype=torch.float64)
    follower = ContextualTables([ContextualSettings()], logits, game("opponent"))
    answers = torch.zeros(1, 1, STATES, dtype=torch.int64)
    assert follower.replies_at(follower.contexts(answers)).tolist() == [[[1, 0, 0]]]


def test_contexts_are_numbered_as_all_tables_are() -> None:
    batch = game("joint")
    logits = torch.zeros(1, 2**5, 5, ACTIONS, dtype=torch.float64)
    answers = all_tables(batch.leader_states, batch.rows)
    contexts = ContextualTables([ContextualSettings()], logits, batch).contexts(answers[None])
    assert contexts.tolist() == [list(range(2**5))]
