"""What a store holds: every variable with its dims, type, value where missing, units and meaning.

The root dataset holds the leader runs, the group `followers` the follower trainings. A variable lists the dims that
follow the swept ones. The inner dims of `followers` carry names of their own, because xarray lets a group share a
dim with its parent only at equal length, and a follower may have another number of iterations, states and actions.

Curves are kept as float32, although training computes in float64: beyond float32's range they would be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

SCHEMA_VERSION = 1
FOLLOWERS = "followers"
SEED = "seed"  # the dim of repetitions
TRIAL = "trial"  # the dim of a search, along which the searched settings vary
ORACLE_DIM = "follower_oracle"  # the dim of the axis follower.oracle


class Status(IntEnum):
    """Where a run stands."""

    PENDING = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3
    BLOCKED = 4


@dataclass(frozen=True)
class Variable:
    """One array of the store; `dims` are the ones after the swept dims, `fill` is the value where nothing is."""

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    description: str
    dtype: str = "float32"
    fill: float | int | str = math.nan
    attrs: Mapping[str, object] = field(default_factory=dict)


_IT = ("iteration",)
_POST = ("post_iteration",)
_EXACT = (
    "Exact expectation: the leader's stochastic policy after the update, the follower greedy; where contexts are too "
    "many to enumerate, its mean over the query answers of the evaluation episodes."
)
_GREEDY = "Exact: the leader takes its most likely action in every state, the follower is greedy."
_SAMPLED = "Mean over evaluation episodes of the stochastic leader and the greedy follower."
_LOSS = (
    "What a best response would earn more than {}: the best one table against the leader's policy, or with the "
    "commitment 'replay' the best table against each answer of the leader; missing where tables are too many."
)
_AFTER = "As {}, for the final leader, frozen, and its follower after further updates against it."
_STEPS = "Cumulative steps of training, queries included; -1 where no iteration took place."

LEADER_VARIABLES = (
    Variable("leader_return", _IT, "payoff", "leader return", _EXACT),
    Variable("follower_return", _IT, "payoff", "follower return", _EXACT),
    Variable(
        "leader_return_greedy",
        _IT,
        "payoff",
        "leader return of the greedy policy",
        _GREEDY,
    ),
    Variable(
        "follower_return_greedy",
        _IT,
        "payoff",
        "follower return against the greedy policy",
        _GREEDY,
    ),
    Variable("leader_return_sampled", _IT, "payoff", "sampled leader return", _SAMPLED),
    Variable("follower_return_sampled", _IT, "payoff", "sampled follower return", _SAMPLED),
    Variable(
        "equilibrium_gap",
        _IT,
        "payoff",
        "gap to the equilibrium",
        "equilibrium_pure minus leader_return; negative where a stochastic leader earns more, missing where "
        "equilibrium_pure is.",
    ),
    Variable(
        "follower_regret",
        _IT,
        "payoff",
        "follower regret",
        _LOSS.format("follower_return"),
    ),
    Variable("entropy", _IT, "nat", "entropy of the leader policy", "Mean over its states, after the update."),
    Variable(
        "env_steps",
        _IT,
        "step",
        "environment steps so far",
        _STEPS,
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "leader_policy",
        (*_IT, "state", "action"),
        "1",
        "leader policy",
        "Probability of each action in each state, after the update.",
    ),
    Variable("post_leader_return", _POST, "payoff", "leader return after training", _AFTER.format("leader_return")),
    Variable(
        "post_follower_return", _POST, "payoff", "follower return after training", _AFTER.format("follower_return")
    ),
    Variable(
        "post_leader_return_greedy",
        _POST,
        "payoff",
        "leader return of the greedy policy after training",
        _AFTER.format("leader_return_greedy"),
    ),
    Variable(
        "post_leader_return_sampled",
        _POST,
        "payoff",
        "sampled leader return after training",
        _AFTER.format("leader_return_sampled"),
    ),
    Variable(
        "post_follower_regret",
        _POST,
        "payoff",
        "follower regret after training",
        _AFTER.format("follower_regret"),
    ),
)

_FOLLOWER_IT = ("follower_iteration",)

FOLLOWER_VARIABLES = (
    Variable(
        "follower_regret_sum",
        _FOLLOWER_IT,
        "payoff",
        "summed follower regret",
        "The greedy follower's shortfall against its exact best response, summed over all leader tables, or where "
        "they are too many over 64 random ones, the same for all runs; missing where best responses are too many.",
    ),
    Variable(
        "follower_regret_worst",
        _FOLLOWER_IT,
        "payoff",
        "worst follower regret",
        "The same at the one of these leader tables where it is largest.",
    ),
    Variable(
        "follower_return",
        _FOLLOWER_IT,
        "payoff",
        "follower return",
        "The greedy follower's exact return, mean over the same leader tables.",
    ),
    Variable(
        "follower_return_sampled",
        _FOLLOWER_IT,
        "payoff",
        "sampled follower return",
        "Mean over evaluation episodes of the stochastic follower against random leader tables.",
    ),
    Variable(
        "env_steps",
        _FOLLOWER_IT,
        "step",
        "environment steps so far",
        _STEPS,
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "follower_logits",
        ("context", "follower_state", "follower_action"),
        "1",
        "logits of the trained follower",
        "Final table over the leader's answers (context), the follower's state and action, as training left it; "
        "missing where the follower is a network.",
        dtype="float64",
    ),
    Variable(
        "follower_parameters",
        ("follower_parameter",),
        "1",
        "parameters of the trained follower",
        "Weights of a follower that is a network, layer by layer: [input + 1, output], the last row the bias.",
        dtype="float64",
    ),
    Variable(
        "updates", (), "1", "updates made", "Follower updates before the stop; -1 if none.", dtype="int32", fill=-1
    ),
)

_EPOCH: Mapping[str, object] = {"_FillValue": -1, "calendar": "proleptic_gregorian"}
_SINCE = "seconds since 1970-01-01"

STATUS = Variable(
    "status",
    (),
    "1",
    "status of the run",
    "Results are complete where done; running without a live writer means interrupted; blocked was not started, for "
    "the reason in `error`. Followers stay pending where the oracle needs no training.",
    dtype="int8",
    fill=int(Status.PENDING),
    attrs={
        "flag_values": [int(s) for s in Status],
        "flag_meanings": " ".join(s.name.lower() for s in Status),
    },
)

RUN_VARIABLES = (
    Variable("error", (), "1", "error", "Why the run failed; empty if it did not.", dtype="string", fill=""),
    Variable("worker", (), "1", "worker", "Address of the worker that ran it.", dtype="string", fill=""),
    Variable("wall_seconds", (), "s", "wall time", "Wall-clock time of the run's pack, divided by its number of runs."),
    Variable(
        "attempts", (), "1", "attempts", "Times the run was tried; -1 if it has not ended.", dtype="int16", fill=-1
    ),
    Variable("started", (), _SINCE, "start of the run", "Of its pack, UTC.", dtype="int64", fill=-1, attrs=_EPOCH),
    Variable("finished", (), _SINCE, "end of the run", "Of its pack, UTC.", dtype="int64", fill=-1, attrs=_EPOCH),
)

GROUND_TRUTH = (
    Variable(
        "equilibrium_pure",
        (),
        "payoff",
        "pure equilibrium value",
        "Leader's exact return with the best deterministic table, ties of the follower broken for the leader; missing "
        "where the ways that episodes can go are too many.",
        dtype="float64",
    ),
    Variable(
        "equilibrium_resample",
        (),
        "payoff",
        "resampling equilibrium value",
        "Leader's best return when play draws its actions anew, as published; numerical: at least this; missing where "
        "tables are too many.",
        dtype="float64",
    ),
    Variable(
        "equilibrium_behavioural",
        (),
        "payoff",
        "behavioural equilibrium value",
        "Leader's best return with a stochastic policy that the follower knows; numerical: at least this; missing "
        "where tables are too many.",
        dtype="float64",
    ),
    Variable(
        "leader_return_min",
        (),
        "payoff",
        "smallest leader return",
        "Least return that the game can give the leader; infinite where returns overflow.",
        dtype="float64",
    ),
    Variable(
        "leader_return_max",
        (),
        "payoff",
        "largest leader return",
        "Greatest return that the game can give the leader; infinite where returns overflow.",
        dtype="float64",
    ),
)


def searched_variable(name: str) -> Variable:
    """The values of a searched setting over the trials; `name` is the setting's, written like a dim."""
    tried = "Searched setting: what the trial tries, NaN before that is chosen; 1 is true and 0 false."
    return Variable(name, (), "1", name.replace("_", " "), tried, dtype="float64")


# Inner dims: (first coordinate value, long name, description).
INNER_DIMS: Mapping[str, tuple[int, str, str]] = {
    "iteration": (1, "leader update", "Counts from 1: the values hold after that many updates."),
    "post_iteration": (1, "update after training", "Counts from 1, with the leader frozen."),
    "state": (0, "leader state", "Index of the leader's observation."),
    "action": (0, "leader action", "Index of the leader's action (a row of the payoffs)."),
    "follower_iteration": (1, "follower update", "Counts from 1: the values hold after that many updates."),
    "context": (0, "context", "Index of the leader's answers that the follower conditions on."),
    "follower_state": (0, "follower state", "Index of the follower's observation."),
    "follower_action": (0, "follower action", "Index of the follower's action (a column of the payoffs)."),
    "follower_parameter": (0, "follower parameter", "Index of a number in a follower that is a network."),
}

# How the sizes of a follower training, named from its own point of view, are named in the store.
FOLLOWER_DIM_NAMES: Mapping[str, str] = {
    "iteration": "follower_iteration",
    "context": "context",
    "state": "follower_state",
    "action": "follower_action",
    "parameter": "follower_parameter",
}
