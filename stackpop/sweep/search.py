"""The trials of a search: choose a candidate, hand out its runs, and learn from what came of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stackpop.errors import SpecError, explain
from stackpop.spec import RunSpec, SweepSpec
from stackpop.spec.search import Choices, Range, SearchSpec, Values
from stackpop.store import ResultsWriter, Status
from stackpop.sweep.plan import Index, Plan, grouped, index_at

if TYPE_CHECKING:
    import optuna

_LOST = (Status.FAILED, Status.BLOCKED)  # how a run can end without results


def check_installed(spec: SweepSpec) -> None:
    """Raises SpecError if a sweep searches by a package that is not there."""
    if spec.search is not None and spec.search.adaptive and importlib.util.find_spec("optuna") is None:
        remedy = "install stackpop[search], or use `method: random`"
        got = "tpe without the package optuna"
        raise SpecError(explain("search.method", expected="an installed method", got=got, remedy=remedy))


class TPE:
    """Optuna's tree-structured Parzen estimator, asked and told in the order of the trials.

    Each choice draws from a generator of its own, keyed by the search's seed and the trial. So it depends on what was
    told so far and on the values of the other trials, not on whether this process made those choices.
    """

    def __init__(self, search: SearchSpec) -> None:
        import optuna

        self._seed = search.settings.seed
        self._distributions = {name: _distribution(search.space[name]) for name in sorted(search.space)}
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every new study
        self._study = optuna.create_study(direction="maximize")
        optuna.logging.set_verbosity(before)
        self._asked: list[optuna.Trial] = []

    def ask(self, chosen: Values | None) -> Values:
        """The values of the next trial, or those it has `chosen` already."""
        from optuna.samplers import TPESampler

        key = np.random.SeedSequence([self._seed, len(self._asked)]).generate_state(1)
        self._study.sampler = TPESampler(seed=int(key[0]), multivariate=True, constant_liar=True)
        if chosen is not None:
            self._study.enqueue_trial(dict(chosen))
        self._asked.append(self._study.ask(self._distributions))
        return dict(self._asked[-1].params) if chosen is None else chosen

    def tell(self, trial: int, objective: float | None) -> None:
        """What came of a trial; None if it failed."""
        from optuna.trial import TrialState

        state = TrialState.FAIL if objective is None else TrialState.COMPLETE
        self._study.tell(self._asked[trial], objective, state)


def _distribution(domain: Range | Choices) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if isinstance(domain, Choices):
        return distributions.CategoricalDistribution(domain.choices)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return distributions.IntDistribution(domain.low, domain.high, log=domain.log)
    return distributions.FloatDistribution(domain.low, domain.high, log=domain.log)


class Trials:
    """Hands out the pending runs of a search in packs, and asks for candidates as their turn comes.

    A trial's values are taken from the store if it has them, else chosen, and recorded before any of its runs starts.
    An adaptive search is told of a trial once, in the order of the trials, when all its runs are durable in the store;
    and trial k is chosen when exactly the trials up to k - at_once were told, even if later ones are done by then. So
    what is tried depends on the file alone, as results do: not on timing, workers or interruptions.
    """

    def __init__(
        self,
        search: SearchSpec,
        plan: Plan,
        writer: ResultsWriter,
        warn: Callable[[str], None],
        size: Callable[[RunSpec], int],
    ) -> None:
        self._search, self._plan, self._writer, self._warn, self._size = search, plan, writer, warn, size
        self._tpe = TPE(search) if search.adaptive else None
        runs = plan.spec.size // search.trials  # of a trial; they follow one another
        self._pending = np.split(plan.pending, np.searchsorted(plan.pending, runs * np.arange(1, search.trials)))
        self._unrecorded = np.array([len(flat) for flat in self._pending])
        self._values: list[Values] = []  # of the trials asked for
        self._packs: Iterator[list[tuple[Index, RunSpec]]] = iter(())

    def next_pack(self) -> list[tuple[Index, RunSpec]] | None:
        """Runs that share one tensor program; None if there are none left, or none before more results are durable."""
        pack = next(self._packs, None)
        if pack is None and (trials := self._ask()):
            self._packs = grouped(self._runs(trials), lambda item: item[1].pack_key, lambda item: self._size(item[1]))
            pack = next(self._packs, None)
        return pack

    def recorded(self, index: Index) -> None:
        """The writer has the result of a run, durable with its next flush."""
        self._unrecorded[index[0]] -= 1

    @property
    def awaits_flush(self) -> bool:
        """Whether nothing but a flush stands before the next candidate."""
        due = len(self._values) - self._search.at_once
        asks = due >= 0 and len(self._values) < self._search.trials
        return bool(asks and not self._unrecorded[due] and not self._durable(due))

    def _runs(self, trials: list[int]) -> Iterator[tuple[Index, RunSpec]]:
        for trial in trials:
            for flat in self._pending[trial]:
                index = index_at(self._plan.spec, flat)
                yield index, self._plan.spec.run(index, self._values[trial])

    def _ask(self) -> list[int]:
        """Trials that can start now, in order."""
        started = []
        while (trial := len(self._values)) < self._search.trials and self._tell(trial - self._search.at_once):
            self._values.append(self._choose(trial))
            started.append(trial)
        return started

    def _choose(self, trial: int) -> Values:
        names = dict(zip(self._plan.spec.searched, self._search.space, strict=True))  # in the store, in the file
        stored = self._writer.tried(trial)
        chosen = self._search.decode({names[name]: value for name, value in stored.items()}) if stored else None
        if self._tpe is None:
            values = chosen or self._search.draw(trial)
        else:
            start = self._search.start[trial] if trial < len(self._search.start) else None
            values = self._tpe.ask(chosen or start)
        if not stored:
            self._writer.record_tried(trial, {name: values[setting] for name, setting in names.items()})
        return values

    def _tell(self, trial: int) -> bool:
        """Tell how a trial went; whether what waits for it can go on. Trials before the first tell nothing."""
        if trial < 0 or self._tpe is None:
            return True
        if self._unrecorded[trial] or not self._durable(trial):
            return False
        objective = self._objective(trial)
        if objective is None:
            self._warn(f"trial {trial} ({_text(self._values[trial])}) counts as failed: {self._reason(trial)}")
        self._tpe.tell(trial, objective)
        return True

    def _durable(self, trial: int) -> bool:
        """Whether the store has all results of a trial; a run that is to be tried again counts once it was."""
        return bool(np.isin(self._writer.leaders.status[trial], (Status.DONE, *_LOST)).all())

    def _objective(self, trial: int) -> float | None:
        """Mean over the runs of a trial; None if one failed, was blocked or has no finite return."""
        if np.isin(self._writer.leaders.status[trial], _LOST).any():
            return None
        ends = [self._end(trial, rest) for rest in np.ndindex(*self._plan.spec.shape[1:])]
        return float(np.mean(ends)) if np.isfinite(ends).all() else None

    def _end(self, trial: int, rest: Index) -> float:
        """Mean of the objective over the last updates of a run, from what the store holds."""
        name, window = self._search.settings.objective, self._search.settings.window
        curve = self._writer.leaders.read((trial, *rest), [name])[name]
        return float(np.mean(curve[~np.isnan(curve)][-window:], dtype=np.float64))

    def _reason(self, trial: int) -> str:
        status = self._writer.leaders.status[trial]
        lost = np.isin(status, _LOST)
        if not lost.any():
            return f"{self._search.settings.objective} is not finite"
        return f"{lost.sum()} of its {status.size} runs failed or were blocked"


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in values.items())
