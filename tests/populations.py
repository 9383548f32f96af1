"""Populations of every learner, with all that a pack may mix, for the contracts that hold for each of them."""

from __future__ import annotations

from typing import Any

from stackpop.games import Memory
from stackpop.spec import RunSpec
from support import LEADER_SETTINGS, ORACLE_SETTINGS, random_payoffs, run_spec

LEADERS: dict[str, dict[str, Any]] = {
    **{name: {"algorithm": name} for name in LEADER_SETTINGS},
    "ppo": {"algorithm": "ppo", "epochs": 5},
    "ppo-value_clip": {"algorithm": "ppo", "epochs": 5, "value_clip": 10.0},
    "es": {"algorithm": "es", "population": 20},
    "es-sample": {"algorithm": "es", "population": 20, "acting": "sample"},
    "simple_q": {"algorithm": "simple_q", "minibatch": 64, "loss": "huber"},
}
ORACLES: dict[str, dict[str, Any]] = {
    **{name: {"oracle": name} for name in ORACLE_SETTINGS},
    "contextual": {"oracle": "contextual", "updates": 4, "post_updates": 3},
    "tabular_q": {"oracle": "tabular_q", "games": 4},
    "tabular_q-carried": {"oracle": "tabular_q", "games": 4, "exploration": "parameter_noise", "reset": False},
}
NETWORK_LEADERS: dict[str, dict[str, Any]] = {
    "pg-mlp": {"algorithm": "pg", "network": "mlp", "hidden": [8]},
    "ppo-mlp": {"algorithm": "ppo", "epochs": 5, "network": "mlp", "hidden": [5, 8]},
}
NETWORK = {"oracle": "contextual", "network": "mlp", "hidden": [9], "updates": 4, "post_updates": 3}
PROTOCOLS: list[dict[str, Any]] = [
    {"commitment": "resample"},
    {"commitment": "replay"},
    {"commitment": "resample", "hidden_queries": True, "query_bit": True},
]
SHAPES: list[tuple[Memory, int]] = [("none", 2), ("opponent", 2), ("joint", 2), ("none", 3), ("opponent", 3)]

LARGEST = 64  # runs of a population


def population(
    leader: dict[str, Any],
    follower: dict[str, Any],
    protocol: dict[str, Any],
    memory: Memory,
    actions: int,
    episodes: int = 3,
) -> list[RunSpec]:
    """Runs of one shape that differ in all that a pack may mix: game, offset, seed and both learning rates."""
    learns = follower["oracle"] == "contextual"
    return [
        run_spec(
            f"random{i % 5}",
            random_payoffs(i % 5, actions, actions),
            seed=i // 2,
            game={"memory": memory, "rounds": 7, "reward_offset": (-2.5, 0.3)[i % 2]},
            **protocol,
            leader={"updates": 4, **leader, "lr": 0.01 * (1 + i % 7)},
            follower={**follower, "lr": 0.02 * (1 + i % 3)} if learns else follower,
            evaluation_episodes=episodes,
        )
        for i in range(LARGEST)
    ]
