"""The sweep whose figures are drawn, and what is looked for in them."""

from __future__ import annotations

from typing import Any

SWEEP = """\
game: {memory: opponent, rounds: 2}
leader: {algorithm: pg, updates: 4, batch_steps: 20}
follower: {updates: 4, batch_steps: 20, post_updates: 0}
evaluation_episodes: 2
"""
GRID = "axes: {matrix: [chicken, battle], leader.lr: [0.1, 0.2], seed: [1, 2]}"


def panels(figure: Any) -> list[Any]:
    return list(figure) if hasattr(figure, "cols") else [figure]


def title_of(panel: Any) -> str:
    return str(panel.opts.get("plot", backend="bokeh").kwargs["title"])


def labelled(panel: Any, label: str) -> Any:
    (found,) = [part for part in panel if part.label == label]
    return found
