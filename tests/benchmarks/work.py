"""`python -m tests.benchmarks.work …`: one piece of work in a process of its own; prints its cost as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stackpop.devices import Device
from stackpop.spec import RunSpec, SweepSpec, load_sweep
from stackpop.training import learned, train_followers, train_leaders

FILE = Path(__file__).parent.parent.parent / "sweeps" / "allmatrices.yaml"
GAMES = 12
WARM = ("leader.updates=3", "follower.updates=3", "follower.post_updates=1")


def protocol(runs: int, *overrides: str) -> SweepSpec:
    """The published protocol, with all its follower updates, for some runs: twelve games each, or fewer."""
    seeds = ",".join(map(str, range(1, 1 + max(1, runs // GAMES))))
    return load_sweep(FILE, ["follower.early_stop=false", f"axes.seed=[{seeds}]", *overrides])


def train(specs: Sequence[RunSpec], device: Device) -> int:
    """Train runs in one pack, their followers before them; the environment steps that they trained on."""
    pretrained = [one for spec in specs if (one := spec.follower_spec()) is not None]
    followers = {one.follower_id: one for one in pretrained}
    results = train_followers(list(followers.values()), device) if followers else []
    arrays = {key: learned(result.arrays) for key, result in zip(followers, results, strict=True)}
    results += train_leaders(specs, arrays, device)
    if errors := [result.error for result in results if result.error]:
        raise RuntimeError(errors[0])
    return sum(int(result.arrays["env_steps"][-1]) for result in results)


def pack(runs: int, *overrides: str) -> int:
    """Some runs in one pack."""
    spec = protocol(runs, *overrides)
    return train([spec.run(index) for index in spec.indices()][:runs], spec.device)


def auto(runs: int, *overrides: str) -> int:
    """Some runs in packs as `auto` chooses them for one thread."""
    from stackpop.sweep.packing import PackSizes  # here, since it brings Dask, which training alone does without
    from stackpop.sweep.plan import make_plan, packs

    spec = protocol(runs, *overrides)
    statuses = np.zeros(spec.shape, dtype=np.int8)
    plan = make_plan(spec, statuses, None, retry_failed=False, runs_per_task="auto", threads=1)
    return sum(train([one for _, one in members], spec.device) for members in packs(plan, PackSizes(plan, 1).of))


def average(store: str) -> None:
    """Open a store, and average one variable of all runs."""
    from stackpop import open_results

    open_results(store).leader_return.mean().compute()


def main() -> None:
    """Work, and tell."""
    import torch

    torch.set_num_threads(1)
    name, what, *overrides = sys.argv[1:]
    if name != "average":
        pack(1, *overrides, *WARM)  # first calls
    cpu, wall, steps = time.process_time(), time.perf_counter(), 0
    if name == "average":
        average(what)
    else:
        steps = {"pack": pack, "auto": auto}[name](int(what), *overrides)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak, "steps": steps}))


if __name__ == "__main__":
    main()
