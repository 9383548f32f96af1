"""Small datasets with the answers known by hand, and claims about them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stackpop.analysis import check_claims
from stackpop.spec import Claim, Quantity

NAN = np.nan
EXACT = {"equilibrium_pure": 10.0, "equilibrium_resample": 15.0, "leader_return_min": 0.0, "leader_return_max": 100.0}


def results(gaps: list[list[list[float]]], status: list[list[int]]) -> xr.Dataset:
    """A dataset [matrix, seed, iteration] with equilibrium 10 and returns between 0 and 100."""
    gap = xr.DataArray(gaps, dims=("matrix", "seed", "iteration"))
    coords = {
        "matrix": [f"game{i}" for i in range(gap.sizes["matrix"])],
        "seed": range(1, 1 + gap.sizes["seed"]),
        "iteration": range(1, 1 + gap.sizes["iteration"]),
    }
    exact = EXACT
    dataset = xr.Dataset({"equilibrium_gap": gap, "leader_return": 10 - gap, "leader_return_greedy": 10 - gap})
    dataset["status"] = (("matrix", "seed"), status)
    each = {name: ("matrix", [value] * gap.sizes["matrix"]) for name, value in exact.items()}
    return dataset.assign_coords(coords | each)


RATES, GAMES, SEEDS = [0.1, 0.2, 0.4], ["hero", "battle"], [1, 2, 3, 4, 5]


def swept(returns: np.ndarray, status: np.ndarray | None = None) -> xr.Dataset:
    """A dataset [leader_lr, matrix, early, seed] with constant curves, or with the given ones [..., iteration]."""
    shape = (len(RATES), len(GAMES), 2, len(SEEDS))
    dims = ("leader_lr", "matrix", "early", "seed")
    curves = np.broadcast_to(returns, (*shape, np.shape(returns)[-1])).astype("float32")
    kinds = np.broadcast_to(2 if status is None else status, shape)
    steps = np.arange(1, 1 + curves.shape[-1])
    done = (kinds == 2)[..., None]
    return xr.Dataset(
        {
            "leader_return": ((*dims, "iteration"), np.where(done, curves, NAN)),
            "equilibrium_gap": ((*dims, "iteration"), np.where(done, 10 - curves, NAN)),
            "post_leader_return": ((*dims, "post_iteration"), np.where(done, curves[..., :2] + 1, NAN)),
            "env_steps": ((*dims, "iteration"), np.where(done, 100 * steps, -1)),
            "leader_policy": ((*dims, "iteration", "state"), np.zeros((*curves.shape, 2))),
            "wall_seconds": (dims, np.where(kinds == 2, 1.5, NAN)),
            "status": (dims, kinds),
        },
        {
            "leader_lr": RATES,
            "matrix": GAMES,
            "early": [False, True],
            "seed": SEEDS,
            "iteration": steps,
            "post_iteration": steps[:2],
            **{name: ("matrix", [value] * 2) for name, value in EXACT.items()},
        },
    )


def along(*values: float) -> np.ndarray:
    """Values along leader_lr, for `swept`."""
    return np.array(values)[:, None, None, None, None]


def claim(relation: str, right: float, variable: str = "leader_return", **where: object) -> Claim:
    """At a rate of 0.1 a variable is … than at another rate."""
    left, other = (Quantity(variable, where={"leader.lr": rate}) for rate in (0.1, right))
    return Claim("text", left, relation, other, {axis: (label,) for axis, label in where.items()})


def statuses(results: xr.Dataset, *claims: Claim) -> list[str]:
    return [found.status for found in check_claims(results, claims)]
