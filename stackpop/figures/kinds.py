"""The figures by the names that the command line has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from stackpop.analysis import select, with_pretraining
from stackpop.analysis.efficiency import FOLLOWERS
from stackpop.errors import StackpopError, did_you_mean, explain
from stackpop.figures.comparison import comparison
from stackpop.figures.convergence import convergence_times
from stackpop.figures.curves import follower_regret, learning_curves
from stackpop.figures.heat import gap_map, leader_policy
from stackpop.figures.plane import payoff_plane
from stackpop.figures.search import searched_values
from stackpop.store import open_results, read_progress


@dataclass(frozen=True)
class Request:
    """What is to be drawn: a store, which of its runs, and the axis that some figures are over."""

    store: str
    over: str | None = None
    where: Mapping[str, Sequence[str]] | None = None

    def results(self) -> xr.Dataset:
        """The chosen leader runs."""
        return _chosen(open_results(self.store), self.where or {})

    def followers(self) -> xr.Dataset | None:
        """The follower trainings, of the chosen labels as far as they have these axes; None where there are none."""
        if read_progress(self.store).followers is None:
            return None
        followers = open_results(self.store, FOLLOWERS)
        dims = {str(dim) for dim in followers.status.dims}
        return _chosen(followers, {k: v for k, v in (self.where or {}).items() if k.replace(".", "_") in dims})


def draw(kind: str, request: Request) -> Any:
    """A figure of a store.

    Raises:
        StackpopError: no such kind, or results that it cannot be drawn of.
        StoreError: no store of ours.
    """
    if kind not in KINDS:
        raise StackpopError(explain("KIND", expected="a figure", got=repr(kind), remedy=did_you_mean(kind, KINDS)))
    return KINDS[kind](request)


def _chosen(results: xr.Dataset, where: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """Runs with some labels; one label alone takes its axis away."""
    return select(results, {axis: labels[0] if len(labels) == 1 else labels for axis, labels in where.items()})


def _convergence(request: Request) -> Any:
    return convergence_times(request.results(), request.followers())


def _regret(request: Request) -> Any:
    followers = request.followers()
    if followers is None:
        got, remedy = "none", "the oracles of this sweep need no training"
        raise StackpopError(explain("results", expected="trained followers", got=got, remedy=remedy))
    return follower_regret(followers)


def _comparison(request: Request) -> Any:
    if request.over is None:
        expected, remedy = "an axis", "for instance --over leader.lr"
        raise StackpopError(explain("--over", expected=expected, got="none", remedy=remedy))
    results = with_pretraining(open_results(request.store), request.store)
    where = {axis: list(labels) for axis, labels in (request.where or {}).items()}
    dim = request.over.replace(".", "_")
    alone = {
        axis: labels[0] if len(labels) == 1 and axis.replace(".", "_") != dim else labels
        for axis, labels in where.items()
    }
    return comparison(results, request.over, where=alone)


KINDS: Mapping[str, Callable[[Request], Any]] = {
    "curves": lambda request: learning_curves(request.results()),
    "gap": lambda request: gap_map(request.results(), request.over),
    "convergence": _convergence,
    "regret": _regret,
    "policy": lambda request: leader_policy(request.results()),
    "plane": lambda request: payoff_plane(request.results()),
    "compare": _comparison,
    "search": lambda request: searched_values(request.results()),
}
