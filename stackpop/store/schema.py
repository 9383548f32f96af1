"""What a store holds: every variable with its dims, type, value where missing, units and meaning.

The root dataset holds the leader runs, the group `followers` the follower trainings. A variable lists the dims that
follow the swept ones. The inner dims of `followers` carry names of their own, because xarray lets a group share a
dim with its parent only at equal length, and a follower may have another number of iterations, states and actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

SCHEMA_VERSION = 1
FOLLOWERS = "followers"


class Status(IntEnum):
    """Where a run stands."""

    PENDING = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3


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
_EXACT = "Exact expectation under the current policies."
_SAMPLED = "Mean over the sampled evaluation episodes."

LEADER_VARIABLES = (
    Variable("leader_return", _IT, "payoff", "leader return", _EXACT),
    Variable("follower_return", _IT, "payoff", "follower return", _EXACT),
    Variable(
        "leader_return_greedy",
        _IT,
        "payoff",
        "leader return of the greedy policy",
        "Exact expectation when the leader plays its most likely action in every state.",
    ),
    Variable(
        "follower_return_greedy",
        _IT,
        "payoff",
        "follower return against the greedy policy",
        "Exact expectation when the leader plays its most likely action in every state.",
    ),
    Variable("leader_return_sampled", _IT, "payoff", "sampled leader return", _SAMPLED),
    Variable("follower_return_sampled", _IT, "payoff", "sampled follower return", _SAMPLED),
    Variable(
        "equilibrium_gap",
        _IT,
        "payoff",
        "gap to the equilibrium",
        "Shortfall of leader_return against the leader's exact equilibrium value.",
    ),
    Variable(
        "follower_regret",
        _IT,
        "payoff",
        "follower regret",
        "Shortfall of follower_return against the follower's exact best response.",
    ),
    Variable("entropy", _IT, "nat", "entropy of the leader policy", "Mean over states, after the update."),
    Variable(
        "env_steps",
        _IT,
        "step",
        "environment steps so far",
        "Cumulative steps of training; -1 where no iteration took place.",
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
    Variable("post_leader_return", _POST, "payoff", "leader return after training", _EXACT),
    Variable("post_follower_return", _POST, "payoff", "follower return after training", _EXACT),
    Variable(
        "post_leader_return_greedy",
        _POST,
        "payoff",
        "leader return of the greedy policy after training",
        "Exact expectation when the frozen leader plays its most likely action in every state.",
    ),
    Variable("post_leader_return_sampled", _POST, "payoff", "sampled leader return after training", _SAMPLED),
    Variable(
        "post_follower_regret",
        _POST,
        "payoff",
        "follower regret after training",
        "Shortfall of post_follower_return against the follower's exact best response.",
    ),
)

_FOLLOWER_IT = ("follower_iteration",)

FOLLOWER_VARIABLES = (
    Variable(
        "follower_regret_sum",
        _FOLLOWER_IT,
        "payoff",
        "summed follower regret",
        "Shortfall against the exact best response, summed over the leader's deterministic commitments.",
    ),
    Variable(
        "follower_regret_worst",
        _FOLLOWER_IT,
        "payoff",
        "worst follower regret",
        "Shortfall against the exact best response to the commitment where it is largest.",
    ),
    Variable("follower_return", _FOLLOWER_IT, "payoff", "follower return", _EXACT),
    Variable("follower_return_sampled", _FOLLOWER_IT, "payoff", "sampled follower return", _SAMPLED),
    Variable(
        "env_steps",
        _FOLLOWER_IT,
        "step",
        "environment steps so far",
        "Cumulative steps of training; -1 where no iteration took place.",
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "follower_logits",
        ("context", "follower_state", "follower_action"),
        "1",
        "logits of the trained follower",
        "Final table over the leader's answers (context), the follower's state and action; exact bits.",
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
    "Results are complete where done; 'running' without a live writer means interrupted.",
    dtype="int8",
    fill=int(Status.PENDING),
    attrs={
        "flag_values": [int(s) for s in Status],
        "flag_meanings": " ".join(s.name.lower() for s in Status),
    },
)

RUN_VARIABLES = (
    Variable("error", (), "1", "error", "Why the run failed; empty if it did not.", dtype="string", fill=""),
    Variable("worker", (), "1", "worker", "Name of the worker that ran it.", dtype="string", fill=""),
    Variable("wall_seconds", (), "s", "wall time", "Wall-clock time of the run on its worker."),
    Variable("attempts", (), "1", "attempts", "Times the run was started; -1 if never.", dtype="int16", fill=-1),
    Variable("started", (), _SINCE, "start of the run", "Start, UTC.", dtype="int64", fill=-1, attrs=_EPOCH),
    Variable("finished", (), _SINCE, "end of the run", "End, UTC.", dtype="int64", fill=-1, attrs=_EPOCH),
)

GROUND_TRUTH = (
    Variable(
        "equilibrium_pure",
        (),
        "payoff",
        "pure equilibrium value",
        "Leader's exact return with the best deterministic commitment.",
        dtype="float64",
    ),
    Variable(
        "equilibrium_resample",
        (),
        "payoff",
        "resampling equilibrium value",
        "Leader's best return when its answers are drawn anew, as in the published protocol.",
        dtype="float64",
    ),
    Variable(
        "equilibrium_behavioural",
        (),
        "payoff",
        "behavioural equilibrium value",
        "Leader's best return with a stochastic policy that the follower knows.",
        dtype="float64",
    ),
    Variable(
        "leader_return_min",
        (),
        "payoff",
        "smallest leader return",
        "Least return that the game can give the leader.",
        dtype="float64",
    ),
    Variable(
        "leader_return_max",
        (),
        "payoff",
        "largest leader return",
        "Greatest return that the game can give the leader.",
        dtype="float64",
    ),
)

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
}

# How the sizes of a follower training, named from its own point of view, are named in the store.
FOLLOWER_DIM_NAMES: Mapping[str, str] = {
    "iteration": "follower_iteration",
    "context": "context",
    "state": "follower_state",
    "action": "follower_action",
}
