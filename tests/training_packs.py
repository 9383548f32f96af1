"""Small packs of every leader against every oracle, under every protocol."""

from __future__ import annotations

from typing import Any

from stackpop.spec import RunSpec
from support import random_payoffs, run_spec

LEADERS: dict[str, dict[str, Any]] = {
    "pg": {"algorithm": "pg"},
    "ppo": {"algorithm": "ppo", "epochs": 5},
    "ppo-value_clip": {"algorithm": "ppo", "epochs": 5, "value_clip": 10.0},
    "ppo-mlp": {"algorithm": "ppo", "epochs": 3, "network": "mlp", "hidden": [5, 8]},
    "es": {"algorithm": "es", "population": 20},
    "es-sample": {"algorithm": "es", "population": 20, "acting": "sample"},
    "simple_q": {"algorithm": "simple_q", "minibatch": 64},
}
ORACLES: dict[str, dict[str, Any]] = {
    "contextual": {"oracle": "contextual", "updates": 6, "post_updates": 5},
    "contextual-mlp": {"oracle": "contextual", "updates": 6, "post_updates": 5, "network": "mlp", "hidden": [9]},
    "exact": {"oracle": "exact"},
    "tabular_q": {"oracle": "tabular_q", "games": 4},
    "tabular_q-carried": {"oracle": "tabular_q", "games": 4, "exploration": "parameter_noise", "reset": False},
}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "resample": {},
    "replay": {"commitment": "replay"},
    "query_bit": {"query_bit": True, "hidden_queries": True},
}
NUMPY_NOWHERE: frozenset[str] = frozenset()


def pack(leader: str, oracle: str, runs: int = 3, updates: int = 4, **settings: Any) -> list[RunSpec]:
    return [
        run_spec(
            f"random{seed}",
            random_payoffs(seed),
            seed=seed,
            leader={"updates": updates, **LEADERS[leader]},
            follower=ORACLES[oracle],
            game={"rounds": 4, **settings.pop("game", {})},
            **settings,
        )
        for seed in range(1, runs + 1)
    ]
