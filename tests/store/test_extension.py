"""A store grows without moving what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from stackpop.errors import StoreError
from stackpop.store import ResultsWriter, Status, open_results
from stackpop.store.schema import LEADER_VARIABLES
from toy_store import FOLLOWER_SIZES, GAMES, LEADER_SIZES, Sweep, check_padded, fill, follower_result, leader_result


@pytest.mark.parametrize(
    "labels",
    [
        {"matrix": (*GAMES, "hero"), "seed": (1, 2)},
        {"matrix": GAMES, "seed": (1, 2, *range(3, 200))},
        {"matrix": ("hero", *reversed(GAMES)), "seed": (7, 2, 1)},
        {"matrix": ("hero",), "seed": (9,)},
    ],
)
def test_new_labels_are_appended_and_old_runs_stay(store: Path, labels: dict[str, tuple[Any, ...]]) -> None:
    fill(store, Sweep())
    before = open_results(store).load()
    sweep = Sweep(labels=labels)
    with ResultsWriter(store, sweep) as writer:
        for index in np.ndindex(sweep.shape):
            known = labels["matrix"][index[0]] in GAMES and labels["seed"][index[1]] in (1, 2)
            assert writer.leaders.status[index] == (Status.DONE if known else Status.PENDING)
        last = tuple(size - 1 for size in sweep.shape)
        writer.leaders.record(last, leader_result(99))
    after = open_results(store).load()
    names = {dim: values[-1] for dim, values in labels.items()}
    np.testing.assert_array_equal(after.sel(names).leader_policy, leader_result(99).arrays["leader_policy"])
    untouched = before.entropy.where(~((before.matrix == names["matrix"]) & (before.seed == names["seed"])))
    for dim in ("matrix", "seed"):
        assert after[dim].values[: len(before[dim])].tolist() == before[dim].values.tolist()
    both = after.entropy.reindex_like(before)
    assert ((both == untouched) | untouched.isnull()).all()
    assert xr.open_datatree(store, engine="zarr").followers.sizes["seed"] == after.sizes["seed"]


@pytest.mark.parametrize("dim", LEADER_SIZES)
def test_inner_dims_grow(store: Path, dim: str) -> None:
    fill(store, Sweep())
    larger = {**LEADER_SIZES, dim: 21}
    with ResultsWriter(store, Sweep(leader_sizes=larger)) as writer:
        writer.leaders.record((0, 0), leader_result(50, larger))
    ds = open_results(store).load()
    assert ds.sizes[dim] == 21
    np.testing.assert_array_equal(ds.leader_policy[0, 0], leader_result(50, larger).arrays["leader_policy"])
    for variable in LEADER_VARIABLES:
        check_padded(ds[variable.name][2, 1].values, leader_result(5).arrays[variable.name], variable.fill)
    with ResultsWriter(store, Sweep()):
        assert open_results(store).sizes[dim] == 21, "a smaller sweep takes nothing away"


def test_a_store_of_short_curves_takes_long_ones(store: Path) -> None:
    for updates in (4, 600):
        sweep = Sweep(leader_sizes={**LEADER_SIZES, "iteration": updates})
        with ResultsWriter(store, sweep) as writer:
            writer.leaders.record((0, 0), leader_result(1, sweep.leader_sizes))
    ds = open_results(store)
    expected = leader_result(1, sweep.leader_sizes)
    np.testing.assert_array_equal(ds.entropy[0, 0], expected.arrays["entropy"].astype("float32"))


def test_followers_are_added_when_a_sweep_begins_to_train_them(store: Path) -> None:
    with ResultsWriter(store, Sweep(follower_sizes={**FOLLOWER_SIZES, "iteration": 0})) as writer:
        assert writer.followers is None
    with pytest.raises(StoreError, match="expected a group 'followers', got none"):
        open_results(store, "followers")
    with ResultsWriter(store, Sweep()) as writer:
        assert writer.followers is not None
        writer.followers.record((0, 1), follower_result(3))
    logits = open_results(store, "followers").follower_logits[0, 1]
    np.testing.assert_array_equal(logits, follower_result(3).arrays["follower_logits"])


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_extension_does_not_show(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, Sweep())
    before = open_results(store).load()
    longer = Sweep(labels={"matrix": GAMES, "seed": (1, 2, 3, 4)})
    with monkeypatch.context() as patch:
        patch.setattr("stackpop.store.writer.commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ResultsWriter(store, longer)
    xr.testing.assert_identical(xr.open_zarr(store).load(), before)
    with ResultsWriter(store, Sweep(labels={"matrix": GAMES, "seed": (1, 2, 8)})):
        pass
    tree = xr.open_datatree(store, engine="zarr")
    assert tree.seed.values.tolist() == tree.followers.seed.values.tolist() == [1, 2, 8]


def test_games_of_the_file_may_come_but_not_change(store: Path) -> None:
    own = {"payoffs.mine": [[[1, 2]]]}
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint"})):
        pass
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint", **own})):
        pass
    with ResultsWriter(store, Sweep(fixed={"game.memory": "joint"})):
        pass
    with pytest.raises(StoreError, match=r"payoffs.mine was \[\[\[1, 2\]\]\], is now \[\[\[1, 3\]\]\]"):
        ResultsWriter(store, Sweep(fixed={"game.memory": "joint", "payoffs.mine": [[[1, 3]]]}))
