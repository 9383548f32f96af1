"""What one training hands back: the arrays of a run and how the run went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of one leader run or one follower training.

    `arrays` maps a variable of the store to its values without the swept dims, e.g. `leader_return` [iteration].
    An array may be shorter than the store's dim (early stop, a smaller game). A non-empty `error` means failed, or
    `blocked`: not started, for the reason that `error` gives. `unfinished`: cut off between two updates; the arrays are
    what the training goes on from, and nothing that the store knows.
    """

    arrays: dict[str, NDArray[Any]]
    error: str = ""
    wall_seconds: float = 0.0
    started: float = 0.0  # unix seconds
    finished: float = 0.0  # unix seconds
    worker: str = ""
    attempts: int = 1
    blocked: bool = False
    unfinished: bool = False

    @property
    def failed(self) -> bool:
        """Whether there is no result, for an error or because the run was not started."""
        return self.error != ""


NOT_BEGUN = TrainingResult({})  # what a run has come to before its first update
