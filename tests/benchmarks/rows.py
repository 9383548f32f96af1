"""The rows of the table: works, their costs and their bars."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from stackpop.store import Status, read_progress
from tests.benchmarks.measure import CORES, Cost, alternately, program, side_by_side, stackpop, watched, work
from tests.benchmarks.peer import Peer
from tests.benchmarks.scale import simulate

SWEEPS = Path(__file__).parent.parent.parent / "sweeps"
SHORT = ("leader.updates=25", "follower.updates=25", "follower.post_updates=3")  # a twentieth of the protocol
UNCLIPPED = "leader.value_clip=null"
GPU_PACKS = (60, 600, 6000, 30_000, 100_000)
TRIVIAL = """\
game: {memory: none, rounds: 1}
leader: {algorithm: ppo, updates: 2, batch_steps: 10, epochs: 1}
follower: {oracle: exact}
evaluation_episodes: 1
"""


@dataclass(frozen=True)
class Row:
    """value, bar: in `unit`; least: the bar is a least, not a most. A row without a bar only tells."""

    work: str
    value: float
    unit: str
    bar: float | None = None
    remark: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value keeps the bar."""
        return self.bar is None or (self.value >= self.bar if self.least else self.value <= self.bar)

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"{'≥' if self.least else '≤'} {self.bar:g}"
        verdict = "" if self.bar is None else "yes" if self.met else "**no**"
        return f"| {self.work} | {self.value:.3g} {self.unit} | {bar} | {verdict} | {self.remark} |"


def trivial(folder: Path, runs: int) -> Path:
    """A sweep file of runs of two updates."""
    file = folder / f"trivial{runs}.yaml"
    games = ["prisoners_dilemma", "chicken", "stag_hunt", "hero", "battle"]
    seeds = list(range(1, 1 + runs // len(games)))
    file.write_text(f"{TRIVIAL}axes:\n  matrix: [{', '.join(games)}]\n  seed: {seeds}\n")
    return file


def many_runs(folder: Path) -> Path:
    """A sweep file of 100,800 runs."""
    text = (SWEEPS / "allmatrices.yaml").read_text()
    seeds = ", ".join(map(str, range(1, 841)))
    rates = ", ".join(f"{0.001 * k:g}" for k in range(1, 11))
    file = folder / "many.yaml"
    file.write_text(
        text.replace("seed: [1, 2, 3, 4, 5]", f"seed: [{seeds}]\n  leader.lr: [{rates}]").replace("  lr: 0.008\n", "")
    )
    return file


def inside(name: str, what: object, *overrides: str, core: int | None = None) -> Cost:
    """The cost of a work as it says itself, so without the start of its process."""
    told = work(name, what, *overrides, core=core).told
    return Cost(told["cpu"], told["wall"], told["peak"], told)


def quick(folder: Path, calibration: float) -> Iterator[Row]:
    """The commands and short trainings, in calibrations: twice a bar is a fault, not a busy neighbour."""

    def row(name: str, cost: Cost, bar: float, remark: str = "") -> Row:
        return Row(name, cost.cpu / calibration, "calibrations", bar, f"{cost.cpu:.2f} s of processor time{remark}")

    yield row("stackpop --help", alternately(3, lambda: stackpop("--help"))[0], 1.5)
    cost = stackpop("sweep", many_runs(folder), "--dry-run", "--store", folder / "dry.zarr")
    yield row("--dry-run of 100,800 runs", cost, 20, f", {cost.peak / 1e6:.0f} MB")
    yield Row("its memory", cost.peak / 1e6, "MB", 500)
    one, sixty = alternately(2, lambda: inside("pack", 1, *SHORT), lambda: inside("pack", 60, *SHORT))
    yield row("one run of 25 updates", one, 0.8)
    yield row("60 runs of 25 updates in one pack", sixty, 2.5)
    yield row("sweep quick", stackpop("sweep", SWEEPS / "quick.yaml", "--store", folder / "quick.zarr"), 150)


def beside_peer(peer: Peer | None, times: int) -> Iterator[Row]:
    """The protocol on one core, in processor seconds, and in parts of the peer's where it is given."""
    alone = f"from tests.benchmarks.work import pack; import torch; torch.set_num_threads(1); pack(1, '{UNCLIPPED}')"
    sixty, clipped, one, one_clipped, started = [], [], [], [], []
    suff, onehot, single = [], [], []
    for _ in range(times):
        sixty.append(inside("pack", 60, UNCLIPPED).cpu)
        if peer is not None:
            suff.append(peer.cost(60, "suff"))
        clipped.append(inside("pack", 60).cpu)
        if peer is not None:
            onehot.append(peer.cost(60, "onehot"))
        one.append(inside("pack", 1, UNCLIPPED).cpu)
        one_clipped.append(inside("pack", 1).cpu)
        started.append(program([os.sys.executable, "-c", alone], core=CORES[-1]).cpu)
        if peer is not None:
            single.append(peer.cost(1, "suff"))

    def against(name: str, ours: list[float], theirs: list[float], bar: float) -> Row:
        if not theirs:
            return Row(name, min(ours), "s")
        remark = f"{min(ours):.2f} s against {min(theirs):.2f} s"
        return Row(f"{name} / peer", min(ours) / min(theirs), "", bar, remark)

    yield against("60 runs packed, value loss whole", sixty, [cost.steady for cost in suff], 1.0)
    yield against("the same, the peer with its compilation", sixty, [cost.compiled for cost in suff], 0.3)
    yield against("60 runs packed, values clipped as published", clipped, [cost.steady for cost in onehot], 0.15)
    yield Row("one run alone, value loss whole, without process start", min(one), "s", 1.0)
    yield against("the same, with process start", started, [cost.started for cost in single], 0.5)
    yield Row("one run alone, values clipped, without process start", min(one_clipped), "s")


def sweeping(folder: Path, times: int, *overrides: str) -> Iterator[Row]:
    """6,000 runs: packed as `auto` chooses in one process, and as a sweep on one worker and on two.

    Of runs with all their updates, a tenth tells what one costs in a pack.
    """
    packed = 6000 if overrides else 600

    def bare() -> Cost:
        return inside("auto", packed, *overrides)

    def beside_another() -> float:
        """Processor time of bare training on one of two busy cores, which share caches and memory."""
        return fmean(cost.cpu for cost in side_by_side(lambda core: inside("auto", packed, *overrides, core=core), 2))

    def sweep(workers: int) -> Cost:
        seeds = f"axes.seed={list(range(1, 501))}"
        options = ["--quiet", "--runs-per-task=auto", f"--workers={workers}"]
        changes = [part for change in ("follower.early_stop=false", seeds, *overrides) for part in ("--set", change)]
        store = folder / f"{workers}-{len(os.listdir(folder))}.zarr"
        return stackpop("sweep", SWEEPS / "allmatrices.yaml", *changes, *options, "--store", store)

    sixty, many = alternately(max(2, times), lambda: inside("pack", 60, *overrides), bare)
    remark = f"{1e3 * many.cpu / packed:.2f} ms a run"
    yield Row(
        f"{packed:,} runs packed by `auto`, a run / one of 60", many.cpu / packed / (sixty.cpu / 60), "", 1.0, remark
    )
    yield Row("their memory", many.peak / 1e9, "GB", 2)
    # The machine's speed changes from minute to minute, so bare training is measured before and after the sweep on two.
    one, alone, before, two, after = sweep(1), bare().cpu, beside_another(), sweep(2), beside_another()
    beside = (before + after) / 2
    yield Row("bare training on one of two busy cores / one core busy", beside / alone, "")
    training = 6000 / packed * beside
    remark = f"{two.cpu:.0f} s of processor time of all processes, {training:.0f} s of bare training on two busy cores"
    # Starting it costs the same whether runs are short or long.
    bar = None if overrides else 10
    added = 100 * (two.cpu / training - 1)
    yield Row("what the sweep of 6,000 runs on 2 workers adds, start and table included", added, "%", bar, remark)
    remark = f"{one.wall:.0f} s and {two.wall:.0f} s by the clock; bare training by itself {2 * alone / beside:.2f} x"
    yield Row("2 workers / 1", one.wall / two.wall, "x", 1.8, remark, least=True)


def trivially(folder: Path, runs: int) -> Iterator[Row]:
    """Runs that take no time: what is left is the client, the scheduler, the workers' part and the store."""
    store = folder / "trivial.zarr"
    options = ("--runs-per-task=auto", "--workers=2", "--quiet", "--store", store)

    def done() -> float:
        return read_progress(store).leaders.counts[Status.DONE] / runs if store.exists() else 0.0

    cost, weights = watched(done, "sweep", trivial(folder, runs), *options)
    yield Row(
        f"{runs:,} trivial runs, from return to the table",
        runs / cost.wall,
        "runs/s",
        1500,
        f"{cost.wall:.0f} s by the clock, {cost.cpu:.0f} s of processor time on 2 cores shared with others, "
        f"which would be {2 * runs / cost.cpu:.0f} runs/s on 2 idle ones",
        least=True,
    )
    thirds = ((1 / 3, 2 / 3), (2 / 3, 0.999))  # of the runs, before the table is made
    in_thirds = [[size for part, size in weights if start < part <= end] for start, end in thirds]
    if all(in_thirds):  # else the runs were too few to be caught at it
        early, late = map(median, in_thirds)
        remark = f"{early / 1e6:.0f} MB in the second third of the runs, {late / 1e6:.0f} MB in the last"
        yield Row("growth of client and scheduler meanwhile", (late - early) / 1e6, "MB", 16, remark)
    opened = alternately(3, lambda: inside("average", store))[0]
    yield Row("opening that store, averaging one variable", opened.cpu, "s", 2, f"{opened.wall:.2f} s by the clock")


def scaling(folder: Path, runs: int, threads: int, seconds: float, pack: int) -> Iterator[Row]:
    """Many workers whose trainings sleep: what the scheduler, the client and the store bear."""
    found = simulate(trivial(folder, runs), runs, threads, seconds, f"--runs-per-task={pack}")
    least = runs / pack * seconds / threads
    remark = f"{found.wall:.0f} s by the clock with the start; {least:.0f} s if nothing but sleep took time"
    work = f"{runs:,} runs in tasks of {pack} that sleep {seconds:g} s on {threads:,} threads"
    yield Row(work, runs / found.wall, "runs/s", None, remark)
    for name, (early, late) in (("client", found.client), ("scheduler", found.scheduler)):
        remark = f"{early / 1e6:.0f} MB in the second third of the time, {late / 1e6:.0f} MB in the last"
        yield Row(f"growth of the {name} meanwhile", (late - early) / 1e6, "MB", None, remark)
    yield Row("longest time in which no run was done", found.pause, "s")


def on_gpu(peer: Peer | None, sizes: Sequence[int] = GPU_PACKS, device: str = "cuda") -> Iterator[Row]:
    """Environment steps that leaders and followers train on in a second by the clock, by the number of runs."""
    found = {runs: inside("pack", runs, UNCLIPPED, f"device={device}") for runs in sizes}
    for runs, cost in found.items():
        remark = f"{cost.wall:.1f} s, {cost.told['steps']:,} steps"
        yield Row(f"{runs:,} runs in one pack on {device}", cost.told["steps"] / cost.wall, "steps/s", None, remark)
    if peer is None:
        return
    processor, wall = peer.cost(60, "suff").steady, found[sizes[0]].wall
    remark = f"{wall:.2f} s by the clock against {processor:.2f} s of processor time"
    work = f"{sizes[0]} runs on {device}, times as fast as the peer on a core"
    yield Row(work, processor / wall, "x", 10, remark, least=True)
    for runs in sizes:
        steps = peer.steps_a_second(runs, device)
        yield Row(f"{runs:,} runs, the peer on {device}", steps, "steps/s")


def growth() -> Iterator[Row]:
    """Milliseconds of processor time a run."""
    for runs in (1, 12, 60, 600, 6000):
        yield Row(f"{runs} runs in one pack, 25 updates", 1e3 * inside("pack", runs, *SHORT).cpu / runs, "ms a run")
    for rounds in (5, 10, 20, 40):
        yield _grown(f"{rounds} rounds", f"game.rounds={rounds}")
    for memory, states in (("none", 1), ("opponent", 3), ("joint", 5)):
        yield _grown(f"{states} states", f"game.memory={memory}")
    for updates in (25, 50, 100, 200):
        yield _grown(f"{updates} updates", f"leader.updates={updates}", f"follower.updates={updates}")


def _grown(name: str, *overrides: str) -> Row:
    return Row(f"60 runs, {name}", 1e3 * inside("pack", 60, *SHORT, *overrides).cpu / 60, "ms a run")
