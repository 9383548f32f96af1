"""The policy-gradient leader beside REINFORCE as written down."""

from __future__ import annotations

import torch

from stackpop.learners import PGLeader, PGSettings
from support import random_batch, reinforce_by_autograd


def test_updates_agree_with_one_loss_a_sample() -> None:
    rates, states, actions = (0.008, 0.1), 5, 3
    leader = PGLeader([PGSettings(lr=lr) for lr in rates], states, actions, [1, 2])
    start = leader.logits.clone()
    assert ((leader.policy - 1 / actions).abs() < 0.01).all()
    generator = torch.Generator().manual_seed(1)
    batches = [random_batch(generator, len(rates), 60, states, actions) for _ in range(50)]
    for batch in batches:
        leader.update(batch)
    for run, lr in enumerate(rates):
        own = [
            ((batch.state[run].flatten(), batch.action[run].flatten()), batch.reward[run].flatten())
            for batch in batches
        ]
        expected = reinforce_by_autograd(start[run], lr, own)
        torch.testing.assert_close(leader.logits[run], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(leader.policy, torch.softmax(leader.logits, -1))
