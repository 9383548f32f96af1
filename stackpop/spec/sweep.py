"""A sweep: the settings of an experiment and the axes it is repeated over. Runs are made one by one, on demand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stackpop.devices import Device
from stackpop.games import MATRICES, Game, Payoffs
from stackpop.learners import ContextualSettings
from stackpop.settings import Settings
from stackpop.spec.claims import Claim
from stackpop.spec.cluster import ClusterSpec
from stackpop.spec.document import dump
from stackpop.spec.runs import RunSpec, is_as_before
from stackpop.spec.search import TRIAL, SearchSpec, Values
from stackpop.spec.sections import SECTIONS, Scalar, join_name, split_name


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep; `load_sweep` and `parse_sweep` make it.

    name: a plain word, for files and tasks.
    axes: dotted setting -> its distinct values, in the order of the dims.
    games: label -> payoffs of every game that is played.
    settings: section -> key -> value of the settings that are no axes ("" for the top level, the matrix with it);
        defaults are filled in, except where an axis chooses the section's kind and so its defaults.
    claims: what the results should show. No run depends on them, so they may change as they will.
    search: settings that are neither, but tried at values of its own choosing along the dim `trial`.
    cluster: where its tasks run, if the file says so. No run depends on it either.
    device: where the trainings are computed, see `stackpop.devices`. No name of a run depends on it.
    segment: leader updates after which a training is cut off, to go on as a task of its own; no result depends on it.
    """

    name: str
    description: str
    axes: Mapping[str, tuple[Scalar, ...]]
    games: Mapping[str, Payoffs]
    settings: Mapping[str, Mapping[str, Any]]
    claims: tuple[Claim, ...] = ()
    search: SearchSpec | None = None
    cluster: ClusterSpec | None = None
    device: Device = "cpu"
    segment: int | None = None

    @cached_property
    def text(self) -> str:
        """The sweep as YAML text, as resolved: overrides and defaults written out."""
        return self.to_yaml()

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """One dim an axis, for instance `leader_lr` for the axis `leader.lr`; before them `trial`, of a search."""
        return tuple(self.labels)

    @cached_property
    def labels(self) -> Mapping[str, tuple[Scalar, ...]]:
        """Dim -> the values along it."""
        trials = {} if self.search is None else {TRIAL: tuple(range(self.search.trials))}
        return {**trials, **{_dim(axis): values for axis, values in self.axes.items()}}

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """The searched settings, named as dims are: the store has them as coordinates along `trial`."""
        return () if self.search is None else tuple(map(_dim, self.search.space))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each dim."""
        return tuple(map(len, self.labels.values()))

    @cached_property
    def size(self) -> int:
        """Number of runs."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @cached_property
    def game_dims(self) -> tuple[str, ...]:
        """The dims that the game itself depends on."""
        return tuple(_dim(axis) for axis in self.axes if _shapes_game(axis))

    @cached_property
    def follower_dims(self) -> tuple[str, ...]:
        """The dims that a follower's own training depends on."""
        searched = () if self.search is None else self.search.space
        trial = (TRIAL,) if any(map(_shapes_follower, searched)) else ()
        return trial + tuple(_dim(axis) for axis in self.axes if _shapes_follower(axis))

    @cached_property
    def most_at_once(self) -> int:
        """Runs that can be in training at a time: all, unless a search must see results first."""
        if self.search is None:
            return self.size
        return self.size // self.search.trials * min(self.search.at_once, self.search.trials)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """The index of each run, the last dim fastest."""
        return itertools.product(*map(range, self.shape))

    def run(self, index: tuple[int, ...], tried: Values | None = None) -> RunSpec:
        """The run at an index, one position a dim.

        tried: the searched settings of its trial; without them, those of a random search take their place, which will
        do for what any candidate has in common: the game, the shape, about the time.
        """
        if self.search is not None:
            trial, index = index[0], index[1:]
            tried = self.search.draw(trial) if tried is None else tried
        along = ((axis, values[at]) for (axis, values), at in zip(self.axes.items(), index, strict=True))
        top = dict(self.settings[""])
        sections: dict[str, Any] = dict(self._whole_sections)
        for name, value in itertools.chain(() if tried is None else tried.items(), along):
            section, key = split_name(name)
            target = sections.setdefault(section, dict(self.settings[section])) if section else top
            target[key] = value
        return RunSpec.model_validate({**top, **sections, "payoffs": self.games[top["matrix"]]})

    @cached_property
    def _whole_sections(self) -> Mapping[str, Settings]:
        """The sections in which no setting varies, validated once for all runs."""
        swept = {split_name(name)[0] for name in self._varied}
        return {
            name: SECTIONS[name].model(values).model_validate(values)
            for name, values in self.settings.items()
            if name and name not in swept
        }

    @cached_property
    def fixed(self) -> Mapping[str, Any]:
        """Dotted name -> value of every setting that does not vary and shapes results, defaults included.

        Where an axis chooses a section's kind, the names carry it: `leader[pg].lr`. The payoffs of games that the
        file itself defines are under `payoffs.<label>`. A device other than the CPU is among them.
        """
        fixed: dict[str, Any] = {f"payoffs.{label}": _lists(payoffs) for label, payoffs in self._own_games().items()}
        for section in self.settings:
            chooser_swept = join_name(section, SECTIONS[section].chooser) in self.axes
            for kind, values in self._resolved(section).items():
                prefix = f"{section}[{kind}]" if chooser_swept else section
                for key in values:
                    if (
                        join_name(section, key) not in self._varied
                        and key != "max_regret"
                        and not is_as_before(values, key)
                    ):
                        fixed[join_name(prefix, key)] = values[key]
        fixed |= self._device
        return fixed if self.search is None else {**fixed, **self.search.fixed}

    @cached_property
    def leader_sizes(self) -> dict[str, int]:
        """The largest size of each dim of the leaders' arrays."""
        return {
            "iteration": self._largest("leader.updates"),
            "post_iteration": self._largest("follower.post_updates"),
            "state": max(game.leader_states for game in self._games()) * (2 if any(self.values("query_bit")) else 1),
            "action": max(game.rows for game in self._games()),
        }

    @cached_property
    def follower_sizes(self) -> dict[str, int]:
        """The largest size of each dim of the followers' arrays; no iterations if every oracle is exact.

        Networks have parameters, and no contexts.
        """
        networks, hidden = self.values("follower.network"), self.values("follower.hidden")
        settings = [ContextualSettings(network="mlp", hidden=each) for each in hidden if "mlp" in networks]
        return {
            "iteration": self._largest("follower.updates"),
            "context": 0 if networks == ["mlp"] else max(game.leader_tables for game in self._games()),
            "state": max(game.follower_states for game in self._games()),
            "action": max(game.columns for game in self._games()),
            "parameter": max((each.parameter_shape(game)[0] for each in settings for game in self._games()), default=0),
        }

    def to_yaml(self) -> str:
        """YAML text; `parse_sweep` gives an equal sweep back."""
        top: dict[str, Any] = {"name": self.name, "description": self.description, **self._device}
        if self.segment is not None:
            top["segment"] = self.segment
        own = {label: _lists(payoffs) for label, payoffs in self._own_games().items()}
        sections = {key: dict(values) for key, values in self.settings.items() if key}
        axes = {axis: list(values) for axis, values in self.axes.items()}
        payoffs, swept = {"payoffs": own} if own else {}, {"axes": axes} if axes else {}
        claims = {"claims": [claim.plain() for claim in self.claims]} if self.claims else {}
        search = {} if self.search is None else {"search": self.search.as_yaml()}
        cluster = {} if self.cluster is None else {"cluster": self.cluster.plain()}
        return dump({**top, **payoffs, **self.settings[""], **sections, **search, **swept, **claims, **cluster})

    @property
    def _device(self) -> dict[str, str]:
        """The device by its key, unless it is the one that all sweeps had before there was a choice."""
        return {} if self.device == "cpu" else {"device": self.device}

    @cached_property
    def _varied(self) -> frozenset[str]:
        """The axes and the searched settings."""
        return frozenset(self.axes) | frozenset(() if self.search is None else self.search.space)

    def _own_games(self) -> Mapping[str, Payoffs]:
        return {label: payoffs for label, payoffs in self.games.items() if label not in MATRICES}

    def _games(self) -> list[Game]:
        """One game for each pair of payoffs and memory."""
        memories = self.values("game.memory")
        return [Game(payoffs, memory) for payoffs in self.games.values() for memory in memories]

    def _largest(self, name: str) -> int:
        return max(self.values(name), default=0)

    def values(self, name: str) -> list[Any]:
        """Every value that a setting, by its dotted name, takes in the sweep; none where nothing in use reads it."""
        section, key = split_name(name)
        if name in self.axes:
            return list(self.axes[name])
        if self.search is not None and name in self.search.space:
            return list(self.search.space[name].ends)
        return [values[key] for values in self._resolved(section).values() if key in values]

    def _resolved(self, section: str) -> Mapping[str, Mapping[str, Any]]:
        """Kind -> the settings of a section with the defaults of that kind; an axis leaves its default here."""
        given = self.settings[section]
        if not section:  # complete as it is, and with the matrix, which no model of the section reads
            return {"": given}
        kinds, chooser = SECTIONS[section].kinds, SECTIONS[section].chooser
        used = self.axes.get(join_name(section, chooser), (given.get(chooser, ""),))
        choices = {kind: SECTIONS[section].choice(kind) for kind in map(str, used)}
        return {kind: kinds[kind].model_validate({**given, **choice}).model_dump() for kind, choice in choices.items()}


def _dim(axis: str) -> str:
    return axis.replace(".", "_")


def _shapes_game(axis: str) -> bool:
    return axis == "matrix" or axis.startswith("game.")


def _shapes_follower(axis: str) -> bool:
    if axis in ("follower.post_updates", "follower.max_regret"):  # these belong to the leader's run
        return False
    return _shapes_game(axis) or axis in ("seed", "evaluation_episodes") or axis.startswith("follower.")


def _lists(payoffs: Payoffs) -> list[list[list[float]]]:
    return [[list(cell) for cell in row] for row in payoffs]
