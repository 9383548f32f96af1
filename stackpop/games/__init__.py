"""Matrix games, their repetition, and a Gymnasium view of the leader's problem."""

from stackpop.games.matrices import CANONICAL, MATRICES, Payoffs, check_payoffs, named_payoffs, parse_payoffs
from stackpop.games.repeated import (
    FOLLOWER,
    LEADER,
    Game,
    GameBatch,
    Memory,
    all_tables,
    expected_returns,
    policy_table_returns,
    table_index,
    table_returns,
)

__all__ = [
    "CANONICAL",
    "FOLLOWER",
    "LEADER",
    "MATRICES",
    "Game",
    "GameBatch",
    "Memory",
    "Payoffs",
    "all_tables",
    "check_payoffs",
    "expected_returns",
    "named_payoffs",
    "parse_payoffs",
    "policy_table_returns",
    "table_index",
    "table_returns",
]
