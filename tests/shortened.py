"""The sweep files of `sweeps/`, made short enough for every day: a few updates of everything."""

from __future__ import annotations

from pathlib import Path

from stackpop.spec import SweepSpec, load_sweep

SWEEPS = Path(__file__).parent.parent / "sweeps"
FILES = sorted(SWEEPS.glob("*.yaml"))
NAMES = [file.stem for file in FILES]
SHORT = {"leader.updates": 3, "follower.updates": 3, "follower.post_updates": 2}
FEW_STEPS = {
    "ipd_allmatrices_ppo_tabularq": {"leader.batch_steps": 100, "follower.games": 5},
    "ipd_allmatrices_ppo_tabularq_large": {"leader.batch_steps": 100, "follower.games": 5},
    "ipd_allmatrices_pg_pg": {"axes.leader.updates": "[2, 3]", "claims": "[]"},
    "sample_efficiency": {"axes.follower.oracle": "[contextual]", "axes.leader.batch_steps": "[100]", "claims": "[]"},
    "larger_games": {"leader.batch_steps": 100, "follower.batch_steps": 100},
}
FEW_LEADERS = {"smipd_hiddenqueries_es_pg": {"leader.population": 20}}


def shortened(file: Path) -> SweepSpec:
    """Two seeds and a few updates of a sweep; of the settings above, those that it has not are left out."""
    few = {"axes.seed": "[1, 2]", **SHORT, **FEW_STEPS.get(file.stem, {}), **FEW_LEADERS.get(file.stem, {})}
    spec = load_sweep(file)
    whole = ("axes.", "claims")
    known = {name: value for name, value in few.items() if name.startswith(whole) or spec.values(name)}
    return load_sweep(file, {key: value for key, value in known.items() if key not in spec.axes})
