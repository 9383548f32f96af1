"""Which figures a report has, each with its explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stackpop import figures
from stackpop.analysis import Findings
from stackpop.report.markdown import search_start
from stackpop.store import open_results, read_progress


def wanted_figures(store: str, found: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Heading, explanation and drawing of each figure that the sweep asks for."""
    results, search = found.results, found.spec.search
    followers = open_results(store, "followers") if read_progress(store).followers is not None else None
    if search is not None:
        settings, start = search.settings, search_start(found)
        yield (
            "What the search tried",
            "A point is the mean over all runs of a trial, the star the best one, the dashed line where it started.",
            lambda: figures.searched_values(results, settings.objective, settings.window, start),
        )
    yield (
        "Leader returns",
        "Lines are means over seeds with a 95 % interval, dash-dotted those of the greedy leader. The exact values: "
        "the pure equilibrium wide and grey, the optimum of the protocol dashed, behavioural commitment dotted.",
        lambda: figures.learning_curves(results),
    )
    yield (
        "Gaps",
        "The equilibrium value less the leader's return: orange falls short, blue earns more than the best "
        "deterministic commitment, which a stochastic leader can.",
        lambda: figures.gap_map(results),
    )
    yield (
        "Time to convergence",
        "A point is a run, a bar the median of all runs; those that never converged have no point.",
        lambda: figures.convergence_times(results, followers),
    )
    yield (
        "Both players' returns",
        "Grey: what pairs of deterministic tables earn; outlined: what any play can. Diamonds are Nash equilibria in "
        "tables, stars Stackelberg equilibria; rings are where runs end, lines how they came there.",
        lambda: figures.payoff_plane(results),
    )
    yield (
        "Leader policies",
        "States are what the leader remembers: (its own last action, the follower's).",
        lambda: figures.leader_policy(results),
    )
    if followers is not None:
        yield (
            "Follower regret in pretraining",
            "What the follower loses against the leader table where it loses most.",
            lambda: figures.follower_regret(followers),
        )
    yield from _comparisons(found)


def _comparisons(found: Findings) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """The first two values of each swept axis."""
    for dim in found.spec.labels:
        if dim in ("matrix", "seed", "trial") or len(found.spec.labels[dim]) < 2:
            continue
        axis = dim.replace("_", ".", 1) if "." not in dim else dim

        def make(dim: str = dim) -> Any:
            return figures.comparison(found.results, dim)

        text = "Left, a point is a pair of runs that differ in nothing else; right, the mean differences."
        yield f"What {axis} makes of it", text, make
