"""What was learned: the leaders' tables and how often each came out, what followers answer, how far equilibria are.

A stochastic leader's table is its most likely action in every state. Tables are written as text, the action in each
state: "10011" plays 1 at the start (see `table_label`; the README says how states are numbered). A leader that observes
a query bit has two tables, "00111|10011": what it plays, then what it answers to queries. Followers know the answers;
names and values are those of the table that is played.

Exact values are the leader's return when the follower best-responds to a table, ties broken for the leader. They are
known where the game can be enumerated, or where the ways its episodes can go can be walked through; else missing.

These functions read one update of the runs, and the followers' tables where these are handed over; all of that is in
memory when they return. `equilibrium_distance` alone is lazy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stackpop.analysis.convergence import at_runs
from stackpop.analysis.curves import need
from stackpop.analysis.exact import BIT, Table, answered_in, fits, played_in, position, solved
from stackpop.analysis.intervals import SEED
from stackpop.analysis.played import Games, games_of, labels_of, run_dims
from stackpop.analysis.strategies import strategy_name, table_label
from stackpop.errors import StackpopError, explain
from stackpop.games import Game
from stackpop.spec import TRAINED_ORACLES
from stackpop.store import Status

DECIMALS = 9  # of values, up to which they are ranked
TEXTS = ("table", "name", "response", "best_response")
NUMBERS = ("best_responds", "value", "gap")


def run_tables(results: xr.Dataset, followers: xr.Dataset | None = None, iteration: int | None = None) -> xr.Dataset:
    """What each run's leader learned, and what its follower answers.

    iteration: the update, by default the last of each run. followers: the group `followers`, if there is one.

    Result, over the swept dims: `table` and `name` (texts, empty where the run is not done or the table has no name),
    `response` (the table that the run's own follower answers with, empty where it is not known: a network, a follower
    that learns anew in every episode, no group handed over), `best_response` (a best response, the lowest of the
    leader's favourites), `best_responds` (1, 0, or NaN where one of the two is not known), `value` (the exact one of
    the table that is played) and `gap` (the equilibrium less that value).

    Raises:
        StackpopError: no such update, or results that do not tell which games were played.
    """
    games = games_of(results)
    dims, shape = run_dims(results)
    tables = _tables(results, games, iteration)
    replies = _replies(results, games, followers)
    parts: dict[str, NDArray[Any]] = {name: np.full(shape, "", dtype=object) for name in TEXTS}
    parts |= {name: np.full(shape, np.nan) for name in NUMBERS}
    for at, learned in tables.items():
        for name, value in _facts(games.at(at), learned, replies.get(at)).items():
            parts[name][at] = value
    found = {
        name: (dims, part.astype(np.dtypes.StringDType()) if name in TEXTS else part) for name, part in parts.items()
    }
    return xr.Dataset(found, labels_of(results, dims))


def learned_tables(
    results: xr.Dataset, followers: xr.Dataset | None = None, iteration: int | None = None
) -> xr.Dataset:
    """The leader tables that were learned, the most frequent first.

    Arguments, errors: as of `run_tables`. Result, over `table` (texts): `runs` (count) and `share` (of the runs that
    are done) over the swept dims without `seed`; over the same, `response` and `response_runs` (what most of their
    followers answer, and how many do) and `best_responds` (the share whose answer is a best response; NaN if none is
    known); over the dims of the games, `name`, `value`, `gap` and `best_response`. `done` and `missing` (runs that are
    not) count over the swept dims without `seed`.
    """
    found = run_tables(results, followers, iteration)
    dims, _ = run_dims(results)
    counts = Counter(text for text in found.table.values.ravel().tolist() if text)
    order = sorted(counts, key=lambda text: (-counts[text], text))
    return _by_table(found, order, dims, games_of(results))


def table_values(results: xr.Dataset, followers: xr.Dataset | None = None, iteration: int | None = None) -> xr.Dataset:
    """The exact value of every leader table of the games, with the runs placed among them.

    Arguments, errors: as of `run_tables`. Result: as of `learned_tables`, for all tables of games that can be solved
    and in any case for those that were learned; and, over the dims of the games, `equilibrium` (1 for a table that is
    one, else 0), `pessimistic` (the value with ties broken against the leader) and `rank` (1 and how many tables have a
    greater value). The tables with the greatest value in any of the games come first.
    """
    found, games = run_tables(results, followers, iteration), games_of(results)
    dims, _ = run_dims(results)
    best: dict[str, float] = {}
    for game in games.distinct:
        exact = solved(game)
        for text, value in zip(exact.labels, exact.optimistic.tolist(), strict=True):
            best[text] = max(value, best.get(text, -np.inf))
    for text in found.table.values.ravel().tolist():
        if text:
            best.setdefault(text, -np.inf)
    order = sorted(best, key=lambda text: (-best[text], text))
    result = _by_table(found, order, dims, games)
    shape = [results.sizes[dim] for dim in games.dims]
    numbers = {name: np.full([*shape, len(order)], np.nan) for name in ("equilibrium", "pessimistic")}
    for at in np.ndindex(*shape):
        for k, text in enumerate(order):
            numbers["equilibrium"][(*at, k)], numbers["pessimistic"][(*at, k)] = solved(games.of[at]).judge(text)
    numbers["rank"] = _ranks(result.value.transpose(..., "table").values)
    return result.assign({name: ((*games.dims, "table"), each) for name, each in numbers.items()})


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 and how many values of the last axis are greater, NaN for those that are missing; equal but for rounding."""
    known = np.isfinite(values)
    rounded = np.round(np.where(known, values, 0), DECIMALS)
    ranks = np.full(values.shape, np.nan)
    for at in np.ndindex(*values.shape[:-1]):
        mine = rounded[at][known[at]]
        ranks[at][known[at]] = 1 + len(mine) - np.searchsorted(np.sort(mine), mine, side="right")
    return ranks


def equilibrium_distance(results: xr.Dataset) -> xr.DataArray:
    """How far each policy is from the nearest equilibrium table: the least over these tables of the mean over states
    of the probability to act otherwise. 0 is that table itself, 1 a table that differs in every state.

    Equilibria that differ only in states which play never comes to are all among the tables, so such states do not
    count. Of a leader that observes a query bit, the policy that is played. Lazy, over the swept dims and `iteration`
    (choose updates before, with `.isel(iteration=[-1])`); missing (NaN) where the run is not done or no equilibrium
    table is known.

    Raises:
        StackpopError: results that do not tell which games were played, or without policies.
    """
    need(results, ["leader_policy", "status"])
    games = games_of(results)
    numbers = xr.DataArray(
        np.arange(len(games.of)).reshape([results.sizes[d] for d in games.dims]),
        {d: results[d] for d in games.dims},
        games.dims,
    )
    each = list(games.of.values())

    def nearest(policy: NDArray[Any], number: NDArray[np.int64]) -> NDArray[np.float64]:
        number = np.broadcast_to(number, policy.shape[:-2])
        found = np.full(number.shape, np.nan)
        for k in np.unique(number):
            found[number == k] = solved(each[k]).distance(policy[number == k])
        return found

    policy = results.leader_policy.where(results.status == Status.DONE)
    if policy.chunks:
        policy = policy.chunk({"state": -1, "action": -1})
    distance: xr.DataArray = xr.apply_ufunc(
        nearest, policy, numbers, input_core_dims=[["state", "action"], []], dask="parallelized", output_dtypes=[float]
    )
    inner = [dim for dim in ("iteration",) if dim in distance.dims]
    return distance.transpose(*results.status.dims, *inner).reset_coords(drop=True).rename("equilibrium_distance")


# --- tables and replies of runs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """A leader's tables: what it plays, and what it answers to queries, which differs only with a query bit."""

    played: Table
    answered: Table
    bit: bool

    @property
    def text(self) -> str:
        """As the module's docstring says."""
        played = table_label(self.played)
        return f"{played}{BIT}{table_label(self.answered)}" if self.bit else played


def _tables(results: xr.Dataset, games: Games, iteration: int | None) -> dict[tuple[int, ...], Learned]:
    """The tables of the runs that are done, by their index over the swept dims."""
    need(results, ["leader_policy", "env_steps"])
    policy = _at_update(results, iteration).transpose(*results.status.dims, "state", "action").load()
    likely = policy.fillna(-1).argmax("action").values
    known = policy.notnull().any("action").values & (results.status == Status.DONE).values[..., None]
    found = {}
    for at in np.ndindex(*results.status.shape):
        states = games.at(at).leader_states
        actions = tuple(likely[at][known[at]].tolist())
        if len(actions) >= states:
            found[at] = Learned(actions[:states], actions[-states:], bit=len(actions) > states)
    return found


def _at_update(results: xr.Dataset, iteration: int | None) -> xr.DataArray:
    """Policies at one update, or at the last that each run made."""
    policy: xr.DataArray = results.leader_policy
    if "iteration" not in policy.dims:
        return policy
    updates = results.get_index("iteration")
    if iteration is None:
        made = (results.env_steps >= 0).sum("iteration").load()
        lasts = np.unique(made.values[made.values > 0])
        found: xr.DataArray = policy.isel(iteration=-1)
        for last in lasts[lasts < len(updates)]:
            found = found.where(made != last, policy.isel(iteration=int(last) - 1))
        return found
    if iteration not in updates:
        got = f"{iteration}" if len(updates) else "no updates"
        expected = f"an update from {updates[0]} to {updates[-1]}" if len(updates) else "results with updates"
        raise StackpopError(explain("iteration", expected=expected, got=got, remedy="leave it out for the last"))
    chosen: xr.DataArray = policy.sel(iteration=iteration)
    return chosen


def _replies(results: xr.Dataset, games: Games, followers: xr.Dataset | None) -> dict[tuple[int, ...], NDArray[Any]]:
    """What the follower of each run answers in every context, [context, follower_state]; -1 where it has no state."""
    everywhere = list(np.ndindex(*results.status.shape))
    found = {at: solved(games.at(at)).replies for at in everywhere if games.oracle(at) == "exact"}
    if followers is None or not followers.sizes.get("context"):
        return found
    need(followers, ["follower_logits", "status"])
    logits = followers.follower_logits.where(followers.status == Status.DONE).reset_coords(drop=True)
    actions = logits.fillna(-np.inf).argmax("follower_action").where(logits.notnull().any("follower_action"), -1)
    aligned = at_runs(actions.astype(np.int16), results).fillna(-1)
    every, _ = xr.broadcast(aligned, results.status.reset_coords(drop=True))
    values = every.transpose(*results.status.dims, "context", "follower_state").values.astype(int)
    return found | {at: values[at] for at in everywhere if games.oracle(at) in TRAINED_ORACLES}


def _facts(game: Game, learned: Learned, replies: NDArray[Any] | None) -> dict[str, Any]:
    """What is known of a run's tables, for `run_tables`."""
    exact = solved(game)
    value = exact.value(learned.played)
    facts: dict[str, Any] = {
        "table": learned.text,
        "name": strategy_name(game, learned.played),
        "value": value,
        "gap": exact.equilibrium - value,
        "best_response": exact.response(learned.answered),
    }
    context = position(learned.answered, game.rows)
    if replies is not None and context < len(replies):
        reply = replies[context][: game.follower_states]
        if len(reply) == game.follower_states and (reply >= 0).all():
            facts |= {"response": table_label(reply.tolist()), "best_responds": exact.is_best(context, reply.tolist())}
    return facts


# --- by table ---------------------------------------------------------------------------------------------------------


def _by_table(found: xr.Dataset, order: list[str], dims: tuple[str, ...], games: Games) -> xr.Dataset:
    """Runs, answers and values of some tables; see `learned_tables`."""
    kept = tuple(dim for dim in dims if dim != SEED)
    shape = [found.sizes[dim] for dim in kept]
    place = {text: k for k, text in enumerate(order)}
    runs, best, judged = (np.zeros([*shape, len(order)]) for _ in range(3))
    answers: dict[tuple[int, ...], Counter[str]] = {}
    for at in np.ndindex(*found.table.shape):
        text = str(found.table.values[at])
        if not text:
            continue
        where = (*(k for dim, k in zip(dims, at, strict=True) if dim != SEED), place[text])
        runs[where] += 1
        if reply := str(found.response.values[at]):
            answers.setdefault(where, Counter())[reply] += 1
        if not np.isnan(right := found.best_responds.values[at]):
            best[where] += right
            judged[where] += 1
    response = np.full(runs.shape, "", dtype=object)
    response_runs = np.zeros(runs.shape, dtype=int)
    for where, counter in answers.items():
        response[where], response_runs[where] = counter.most_common(1)[0]
    done = (found.table != "").sum(SEED) if SEED in dims else (found.table != "").astype(int)
    by_setting = (*kept, "table")
    counts = xr.DataArray(runs.astype(int), {**labels_of(found, kept), "table": order}, by_setting)
    with np.errstate(invalid="ignore"):
        share_best = np.where(judged > 0, best / judged, np.nan)
    return xr.Dataset(
        {
            "runs": counts,
            "share": counts / done.where(done > 0),
            "response": (by_setting, response.astype(np.dtypes.StringDType())),
            "response_runs": (by_setting, response_runs),
            "best_responds": (by_setting, share_best),
            **_of_games(games, order),
            "done": done,
            "missing": found.sizes.get(SEED, 1) - done,
        }
    )


def _of_games(games: Games, order: list[str]) -> dict[str, Any]:
    """What is exact of some tables, over the dims of the games."""
    shape = [1 + max(at[k] for at in games.of) for k in range(len(games.dims))]
    texts = {name: np.full([*shape, len(order)], "", dtype=object) for name in ("name", "best_response")}
    numbers = {name: np.full([*shape, len(order)], np.nan) for name in ("value", "gap")}
    for at, game in games.of.items():
        exact = solved(game)
        for k, text in enumerate(order):
            table = played_in(text)
            if not fits(game, table):
                continue
            value, answered = exact.value(table), answered_in(text)
            texts["name"][(*at, k)] = strategy_name(game, table)
            texts["best_response"][(*at, k)] = exact.response(answered)
            numbers["value"][(*at, k)], numbers["gap"][(*at, k)] = value, exact.equilibrium - value
    dims = (*games.dims, "table")
    strings = {name: (dims, each.astype(np.dtypes.StringDType())) for name, each in texts.items()}
    return {**strings, **{name: (dims, each) for name, each in numbers.items()}}
