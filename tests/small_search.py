"""A small search, as a sweep file."""

from __future__ import annotations

from stackpop.spec import SweepSpec, parse_sweep

SEARCH = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 2}
evaluation_episodes: 2
search:
  method: tpe
  trials: 14
  at_once: 2
  start: [{leader.lr: 0.5}]
  space: {leader.lr: {low: 1.0e-5, high: 1.0, log: true}}
axes:
  matrix: [chicken, battle]
  seed: [1, 2]
"""
RANDOM = SEARCH.replace("  at_once: 2\n", "").replace("tpe", "random")
LR = "{leader.lr: {low: 1.0e-5, high: 1.0, log: true}}"


def search(text: str = SEARCH, **overrides: object) -> SweepSpec:
    """A small search, with other settings."""
    return parse_sweep(text, "tiny", [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()])
