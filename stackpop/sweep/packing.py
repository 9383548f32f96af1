"""How many runs share a pack: bounded by memory, and chosen from what packs were measured to take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stackpop.learners import TabularQSettings
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec
from stackpop.sweep.plan import LARGEST_PACK, Plan

# Environment steps an update of a whole pack. Its tensors take 120 bytes a step, and with what the allocator keeps
# between updates up to 600: 300 MB at most.
MOST_STEPS = 2**19
# What a pack may grow to, where runs are so short that handing it out costs more than training it.
MOST_RUNS = 1024
# Packs shorter than this grow: the scheduler has some milliseconds of work with each, and so has its worker.
SHORT_SECONDS = 2.0
# Packs longer than this shrink, for so much is lost with a worker, but not below what a tensor program needs to pay.
LONG_SECONDS = 600.0
LEAST_SHRUNK = 16
# A pack grows only while so many of its size are left for each thread, so that all are busy to the end.
PACKS_TO_COME = 4


def most_runs(spec: RunSpec | FollowerSpec) -> int:
    """The most runs like this one whose pack stays within memory."""
    return max(1, min(MOST_RUNS, MOST_STEPS // _steps_an_update(spec)))


def _steps_an_update(spec: RunSpec | FollowerSpec) -> int:
    """Environment steps of one update, or the updates where those are more, for their curves are kept."""
    game = spec.to_game()
    if isinstance(spec, FollowerSpec):
        return max(spec.follower.batch_steps + game.episode_steps, spec.follower.updates)
    episode = game.episode_steps
    if isinstance(spec.follower, TabularQSettings):
        episode = (
            spec.follower.games + 1
        ) * game.rounds  # it learns anew in every episode, before the game that counts
    return max(spec.leader.episodes(episode) * episode, spec.leader.updates)


class PackSizes:
    """The sizes of the next packs of one sweep, kind by kind; a kind is what shares a `pack_key`.

    With a fixed number of runs a task, every pack has that size. `auto` starts with the plan's, as far as memory
    allows, and goes on from the seconds that the last pack of the kind took.
    """

    def __init__(self, plan: Plan, threads: int) -> None:
        self._plan, self._threads = plan, threads
        self._left = len(plan.pending)
        self._within_memory: dict[str, int] = {}
        self._seconds: dict[str, float] = {}  # a run, of the last pack of a kind

    def of(self, spec: RunSpec) -> int:
        """Runs of the next pack of this run's kind."""
        planned = self._plan.runs_per_task
        if not self._plan.auto:
            return planned
        if spec.pack_key not in self._within_memory:
            self._within_memory[spec.pack_key] = most_runs(spec)
        size = self._paced(planned, self._seconds.get(spec.pack_key))
        return min(size, self._within_memory[spec.pack_key])

    def _paced(self, planned: int, seconds: float | None) -> int:
        if not seconds:
            return planned
        if planned * seconds > LONG_SECONDS:
            return min(planned, max(LEAST_SHRUNK, int(LONG_SECONDS / seconds)))
        wanted = _power_of_two(min(SHORT_SECONDS / seconds, self._left / (PACKS_TO_COME * self._threads)))
        return wanted if planned == LARGEST_PACK and wanted > planned else planned

    def handed_out(self, runs: int) -> None:
        """So many runs are in tasks now."""
        self._left -= runs

    def took(self, spec: RunSpec, results: Sequence[TrainingResult]) -> None:
        """A pack came back, with its seconds in its results; one of nothing but refused runs tells nothing."""
        if trained := [result.wall_seconds for result in results if not result.failed]:
            self._seconds[spec.pack_key] = math.fsum(trained) / len(trained)


def _power_of_two(most: float) -> int:
    """The largest power of two up to `most`, which fills blocks of the store; at most MOST_RUNS."""
    return int(2 ** math.floor(math.log2(min(max(most, 1), MOST_RUNS))))
