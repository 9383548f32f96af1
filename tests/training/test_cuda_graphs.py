"""Updates that are recorded once and repeated, as CUDA graphs do it; here the CPU keeps the records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stackpop import arrays
from stackpop.errors import ClusterError
from stackpop.learners import streams
from stackpop.results import TrainingResult
from stackpop.spec import RunSpec
from stackpop.training import cuda_graphs, train_leaders
from stackpop.training.cuda_graphs import WARM_UPS, GraphedUpdate, Update, cuda_graph
from support import train
from training_packs import LEADERS, NUMPY_NOWHERE, ORACLES, PROTOCOLS, pack


class Recording(TorchDispatchMode):
    """Notes operations and the tensors that they work on, to do the same on the same memory again.

    What was there before is put back in the end: on a GPU, operations that are recorded are not done.
    """

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Any, Any]] = {}  # what there was, by where it is in memory
        self._own: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for where, tensor in _tensors((args, kwargs)).items():
            if where not in self._own and where not in self._before:
                memory = tensor.untyped_storage()
                self._before[where] = memory, memory.clone()
        found = func(*args, **(kwargs or {}))
        self._own |= _tensors(found).keys() - self._before.keys()
        self._operations.append((func, args, kwargs or {}, found))
        return found

    def undo(self) -> None:
        for memory, before in self._before.values():
            memory.copy_(before)

    def replay(self) -> None:
        for func, args, kwargs, found in self._operations:
            given = _tensors((args, kwargs))
            again = func(*args, **kwargs)
            for one, other in zip(_leaves(found), _leaves(again), strict=True):
                if one.untyped_storage().data_ptr() not in given:
                    one.copy_(other)


def _leaves(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _tensors(values: Any) -> dict[int, Tensor]:
    """Tensors by where they are in memory."""
    return {each.untyped_storage().data_ptr(): each for each in _leaves(values)}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Update]:
    """Updates that were recorded; from now on PyTorch computes, and the CPU records."""
    updates: list[Update] = []

    def record(update: Update) -> Update:
        updates.append(update)
        with Recording() as recording:
            update()
        recording.undo()
        return recording.replay

    monkeypatch.setattr(arrays, "NUMPY_DEVICES", NUMPY_NOWHERE)
    monkeypatch.setattr(streams, "NUMPY_DEVICES", NUMPY_NOWHERE)
    monkeypatch.setattr(cuda_graphs, "RECORDERS", {"cpu": record})
    return updates


def both(specs: list[RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with and without records: to the last bit, it comes to the same."""
    found = train(specs)
    monkeypatch.setenv(cuda_graphs.SWITCH, "0")
    for one, other in zip(tree_leaves(train(specs)), tree_leaves(found), strict=True):
        if one is not None:
            assert isinstance(one, TrainingResult)
            assert (one.error, other.error) == ("", "")
            for name, values in one.arrays.items():
                np.testing.assert_array_equal(other.arrays[name], values, err_msg=name)


@pytest.mark.parametrize(
    ("leader", "follower", "protocol"),
    [
        *((leader, "contextual", "resample") for leader in LEADERS),
        *(("pg", follower, protocol) for follower in ORACLES for protocol in PROTOCOLS if "tabular_q" not in follower),
        ("pg", "tabular_q", "resample"),
    ],
)
def test_updates_that_are_repeated_are_updates(
    leader: str, follower: str, protocol: str, recorded: list[Update], monkeypatch: pytest.MonkeyPatch
) -> None:
    both(pack(leader, follower, updates=9, **PROTOCOLS[protocol]), monkeypatch)
    leaders, trained = leader != "simple_q" and follower != "tabular_q", follower.startswith("contextual")
    assert len(recorded) == leaders + 2 * trained  # before the leaders' training, and after it


def test_a_training_goes_on_from_a_record(recorded: list[Update]) -> None:
    specs = pack("ppo", "exact", updates=9)
    whole, parts = train_leaders(specs, {}), train_leaders(specs, {}, segment=4)
    while any(part.unfinished for part in parts):
        parts = train_leaders(specs, {}, segment=4, earlier=parts)
    assert len(recorded) == 3  # the last segment is of one update
    for one, other in zip(whole, parts, strict=True):
        for name, values in one.arrays.items():
            np.testing.assert_array_equal(other.arrays[name], values, err_msg=name)


def counted(recordable: bool) -> tuple[Callable[[], None], list[int], Tensor]:
    """An update, when Python made it, and a tensor that counts."""
    made, count = list[int](), torch.zeros(())

    def update() -> None:
        made.append(len(made))
        count.add_(1)

    return GraphedUpdate(update, recordable=recordable), made, count


@pytest.mark.parametrize(("recordable", "by_python"), [(True, WARM_UPS + 1), (False, 7)])
@pytest.mark.usefixtures("recorded")
def test_python_makes_the_first_updates_alone(recordable: bool, by_python: int) -> None:
    update, made, count = counted(recordable)
    for k in range(7):
        update()
        assert count == k + 1
    assert len(made) == by_python


@pytest.mark.usefixtures("recorded")
def test_what_an_update_keeps_in_python_does_not_go_on() -> None:
    """So that the tests above can fail."""
    kept, total = [0.0], torch.zeros(())

    def update() -> None:
        kept[0] += 1
        total.add_(kept[0])

    graphed = GraphedUpdate(update)
    for _ in range(5):
        graphed()
    assert total == 1 + 2 + 3 + 3 + 3


def test_a_processor_records_nothing() -> None:
    update, made, _ = counted(recordable=True)
    for _ in range(5):
        update()
    assert len(made) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_what_cannot_be_recorded_is_told_in_one_line() -> None:
    with pytest.raises(ClusterError, match=r"^device: expected a GPU that records .*; set .*STACKPOP_CUDA_GRAPHS=0 "):
        cuda_graph(lambda: None)
