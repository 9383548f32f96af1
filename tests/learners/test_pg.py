"""The policy-gradient leader beside REINFORCE as written down."""

from __future__ import annotations

import torch

from stackpop.learners import PGLeader, PGSettings, Phase, Streams
from support import random_decisions, reinforce_by_autograd


def test_updates_agree_with_one_loss_a_sample() -> None:
    rates, states, actions = (0.008, 0.1), 5, 3
    leader = PGLeader([PGSettings(lr=lr) for lr in rates], states, actions, Streams([1, 2], Phase.LEADER_INIT))
    start = leader.logits.clone()
    generator = torch.Generator().manual_seed(1)
    batches = [random_decisions(generator, len(rates), 60, states, actions) for _ in range(50)]
    for batch in batches:
        leader.update(batch)
    for run, lr in enumerate(rates):
        own = [((batch.state[run], batch.action[run]), batch.return_to_go[run]) for batch in batches]
        expected = reinforce_by_autograd(start[run], lr, own)
        torch.testing.assert_close(leader.logits[run], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(leader.policy, torch.softmax(leader.logits, -1))
