"""One run, fully resolved, and the follower training it needs; names that stay the same wherever they are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, StringConstraints, ValidationError

from stackpop.errors import SpecError
from stackpop.games import Game, Memory, Payoffs, check_payoffs
from stackpop.learners import LEARNING_ORACLES, ContextualSettings, FollowerSettings, LeaderSettings, PPOSettings
from stackpop.settings import Settings
from stackpop.spec.document import dump, read
from stackpop.spec.problems import expectation, remedy, shown

# Plain in a file name, a Dask key and a coordinate alike.
WORD = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"

Word = Annotated[str, StringConstraints(pattern=WORD)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Commitment = Literal["resample", "replay"]
Leader = Annotated[LeaderSettings, Field(discriminator="algorithm")]
Follower = Annotated[FollowerSettings, Field(discriminator="oracle")]
# Oracles whose followers are trained before the leaders, as tasks of their own.
TRAINED_ORACLES = frozenset([ContextualSettings.model_fields["oracle"].default])
LATER_SETTINGS: Mapping[str, Any] = {"network": "table", "hidden": None}
QUERYLESS_ORACLES = tuple(settings.model_fields["oracle"].default for settings in LEARNING_ORACLES)


def _payoffs(value: object) -> Payoffs:
    try:
        return check_payoffs(value)
    except SpecError as error:  # pydantic collects a ValueError among the other problems
        raise ValueError(str(error)) from error


class GameSettings(Settings):
    """How a matrix game is repeated; see `stackpop.games.Game`."""

    memory: Memory = "joint"
    rounds: PositiveInt = 10
    reward_offset: float = -2.5


class SamplingSettings(Settings):
    """What every training draws from, and how often it is sampled for evaluation."""

    evaluation_episodes: PositiveInt = 10
    seed: Seed = 1


class ProtocolSettings(SamplingSettings):
    """The settings of a sweep file that stand outside its sections.

    commitment: whether the leader acts anew in play (`resample`, as published) or plays its query answers as given
    (`replay`). hidden_queries: the leader does not learn from its query answers. query_bit: the leader observes
    whether it is being queried.
    """

    commitment: Commitment = "resample"
    hidden_queries: bool = False
    query_bit: bool = False


class TrainingSpec(SamplingSettings):
    """What a leader run and a follower training have in common: the game, its label and its content hash."""

    matrix: Word
    payoffs: Annotated[Payoffs, BeforeValidator(_payoffs)]
    game: GameSettings = GameSettings()

    def to_game(self) -> Game:
        """The repeated game that is played."""
        return Game(self.payoffs, **self.game.model_dump())

    def to_yaml(self) -> str:
        """YAML text; `from_yaml` gives an equal spec back."""
        return dump(self.model_dump(mode="json"))

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """A spec from YAML text.

        Raises:
            SpecError: every problem of the text, one line each.
        """
        document = read(text, "spec")
        try:
            document.problems.raise_any()
            return cls.model_validate(document.value)
        except ValidationError as error:
            for e in error.errors():
                advice = remedy(e, cls)
                document.refuse(e["loc"], expected=expectation(e), got=shown(e["input"]), remedy=advice)
            document.problems.raise_any()
            raise

    @property
    def label(self) -> str:
        """A readable name, to be joined with an id: labels alone are not unique."""
        return f"{self.matrix}-s{self.seed}"

    @cached_property
    def pack_key(self) -> str:
        """Equal for trainings that can share one tensor program.

        Rows of a pack may differ in seed, learning rates, and the values of payoffs and offset.
        """
        may_differ = {"matrix": True, "payoffs": True, "seed": True}
        lr, offset = {"lr"}, {"reward_offset"}
        content = self.model_dump(mode="json", exclude=may_differ | {"game": offset, "leader": lr, "follower": lr})
        return _short_hash(content | {"shape": [len(self.payoffs), len(self.payoffs[0])]})


class FollowerSpec(TrainingSpec):
    """One training of a contextual follower: all it depends on, and nothing of the leader's.

    What only the leader's run reads has one value always: no `follower.post_updates`, any `follower.max_regret`.
    """

    follower: ContextualSettings

    @cached_property
    def follower_id(self) -> str:
        """Ten hex digits that depend on every setting and on nothing else."""
        return _short_hash(_content(self))


class RunSpec(TrainingSpec, ProtocolSettings):
    """One run: a leader trained on one game against one follower oracle from one seed."""

    leader: Leader = PPOSettings()
    follower: Follower = ContextualSettings()

    @cached_property
    def run_id(self) -> str:
        """Ten hex digits that depend on every setting and on nothing else."""
        return _short_hash(_content(self))

    @property
    def label(self) -> str:
        """A readable name, to be joined with an id: labels alone are not unique."""
        return f"{super().label}-lr{self.leader.lr:g}"

    @property
    def leader_states(self) -> int:
        """States of the leader's table: those of the game, twice over if it observes a query bit."""
        return self.to_game().leader_states * (2 if self.query_bit else 1)

    def follower_spec(self) -> FollowerSpec | None:
        """The follower training that this run needs; None where the oracle trains none."""
        if not isinstance(self.follower, ContextualSettings):
            return None
        return FollowerSpec(
            matrix=self.matrix,
            payoffs=self.payoffs,
            game=self.game,
            follower=self.follower.model_copy(update={"post_updates": 0, "max_regret": None}),
            evaluation_episodes=self.evaluation_episodes,
            seed=self.seed,
        )


def is_as_before(settings: Mapping[str, Any], key: str) -> bool:
    """Whether a setting of a section came after the first stores, and has the value that they were made with.

    Such settings take no part in ids and in comparisons of stores.
    """
    return key in LATER_SETTINGS and settings[key] == LATER_SETTINGS[key]


def _content(spec: TrainingSpec) -> dict[str, Any]:
    """All settings of a run, for its id."""
    content = spec.model_dump(mode="json")
    for section in ("leader", "follower"):
        values = content.get(section, {})
        for key in [key for key in values if is_as_before(values, key)]:
            del values[key]
    return content


def _short_hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
