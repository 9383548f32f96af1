"""How far a sweep is, as its store tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpop.errors import StoreError
from stackpop.games import MATRICES
from stackpop.results import TrainingResult
from stackpop.spec import TRAINED_ORACLES, RunSpec
from stackpop.spec.sections import SECTIONS
from stackpop.store import ResultsWriter, Status, open_results, read_progress, read_statuses
from toy_store import Sweep, fill, follower_result, leader_result


def test_statuses_can_be_planned_without_touching_anything(store: Path) -> None:
    leaders, followers = read_statuses(store, Sweep())
    assert (leaders == Status.PENDING).all()
    assert followers is not None
    assert followers.shape == (3, 2)
    fill(store, Sweep())
    leaders, _ = read_statuses(store, Sweep(labels={"matrix": ("hero", "stag_hunt"), "seed": (3, 2)}))
    assert leaders.tolist() == [[Status.PENDING, Status.PENDING], [Status.PENDING, Status.DONE]]
    assert read_statuses(store, Sweep(follower_sizes={}))[1] is None
    assert open_results(store).sizes["seed"] == 2
    with pytest.raises(StoreError, match=r"leader\.lr was 0\.008, is now nothing"):
        read_statuses(store, Sweep(fixed={"game.memory": "joint"}))


def test_progress_lists_failed_runs_with_their_labels(store: Path) -> None:
    with ResultsWriter(store, Sweep()) as writer:
        writer.leaders.record((0, 1), TrainingResult({}, error="overflow in payoffs"))
        writer.leaders.record((1, 0), leader_result(1))
    progress = read_progress(store)
    assert progress.name == "toy"
    assert progress.leaders.sizes == {"matrix": 3, "seed": 2}
    assert progress.leaders.total == 6
    (failure,) = progress.leaders.failures
    assert failure.labels == {"matrix": "chicken", "seed": 2}
    assert failure.error == "overflow in payoffs"
    assert progress.followers is not None
    assert progress.followers.counts[Status.PENDING] == 6


@pytest.mark.parametrize("dims", [("follower_oracle", "seed"), ("seed", "follower_oracle")])
def test_progress_leaves_out_followers_that_are_never_trained(store: Path, dims: tuple[str, ...]) -> None:
    labels: dict[str, tuple[Any, ...]] = {"follower_oracle": ("exact", "contextual"), "seed": (1, 2, 3)}
    with ResultsWriter(store, Sweep(labels={dim: labels[dim] for dim in dims})) as writer:
        assert writer.followers is not None
        for seed in (0, 1):
            at = {"follower_oracle": 1, "seed": seed}
            writer.followers.record(tuple(at[dim] for dim in dims), follower_result(seed))
    followers = read_progress(store).followers
    assert followers is not None
    assert followers.sizes == {"follower_oracle": 1, "seed": 3}
    assert (followers.counts[Status.DONE], followers.counts[Status.PENDING]) == (2, 1)
    assert read_progress(store).leaders.total == 6


def test_the_trained_oracles_are_those_that_need_a_training() -> None:
    kinds = {oracle: model() for oracle, model in SECTIONS["follower"].kinds.items()}
    run = RunSpec(matrix="chicken", payoffs=MATRICES["chicken"])
    trained = {o for o, settings in kinds.items() if run.model_copy(update={"follower": settings}).follower_spec()}
    assert trained == TRAINED_ORACLES
