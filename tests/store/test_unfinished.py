"""What unfinished runs go on from, in a store: whole or not there, and gone when nobody needs it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from stackpop.display import status
from stackpop.provenance import source_hash
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter, count_unfinished, open_results, read_progress
from stackpop.store.unfinished import FOLDER

SPEC = parse_sweep("matrix: chicken\nfollower: {oracle: exact}\naxes: {seed: [1, 2, 3]}\n", "toy")


def cut(number: int, made: int = 10) -> TrainingResult:
    """What a run goes on from, different in every array."""
    rng = np.random.default_rng(number)
    arrays = {"made": np.array(made), "leaders.params0": rng.normal(size=(2, 3)), "words": rng.integers(2**62, size=9)}
    return TrainingResult(arrays, wall_seconds=1.5 * number, started=1e9 + number, unfinished=True)


def files(store: Path) -> list[str]:
    return sorted(path.name for path in (store / FOLDER).glob("*")) if (store / FOLDER).exists() else []


def check_equal(found: TrainingResult | None, expected: TrainingResult) -> None:
    assert found is not None
    assert found.unfinished
    assert (found.wall_seconds, found.started) == (expected.wall_seconds, expected.started)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()


def test_the_next_writer_knows_every_run_of_a_pack(store: Path) -> None:
    with ResultsWriter(store, SPEC) as writer:
        assert not writer.unfinished
        writer.unfinished.record(["a", "b"], [cut(1), cut(2)])
    with ResultsWriter(store, SPEC) as writer:
        assert len(writer.unfinished) == 2
        check_equal(writer.unfinished.known("a"), cut(1))
        check_equal(writer.unfinished.known("b"), cut(2))
        assert writer.unfinished.known("c") is None


def test_the_latest_counts_and_files_go_when_nobody_needs_them(store: Path) -> None:
    with ResultsWriter(store, SPEC) as writer:
        unfinished = writer.unfinished
        unfinished.record(["a", "b"], [cut(1), cut(2)])
        first = files(store)
        unfinished.record(["a", "b"], [cut(3), cut(4)])
        assert files(store) == first
        unfinished.record(["b"], [cut(5, made=20)])  # the pack was divided
        assert len(files(store)) == 2
        check_equal(unfinished.known("a"), cut(3))
        check_equal(unfinished.known("b"), cut(5, made=20))
        unfinished.ended(["a"])
        assert len(files(store)) == 1
        unfinished.ended(["a", "b", "never met"])
    assert not (store / FOLDER).exists()


def test_of_two_files_with_a_run_the_next_writer_takes_the_later_one(store: Path) -> None:
    for order in (("a", "b"), ("b", "a")):
        with ResultsWriter(store, SPEC) as writer:
            writer.unfinished.record(["a", "b"], [cut(1, made=10), cut(2, made=10)])
            writer.unfinished.record([order[0]], [cut(3, made=20)])
        with ResultsWriter(store, SPEC) as writer:
            check_equal(writer.unfinished.known(order[0]), cut(3, made=20))
            writer.unfinished.ended(order)
        assert not (store / FOLDER).exists()


@pytest.mark.parametrize("harm", ["cut off", "not a zip", "empty", "another file"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(store: Path, harm: str) -> None:
    with ResultsWriter(store, SPEC) as writer:
        writer.unfinished.record(["a"], [cut(1)])
    (path,) = (store / FOLDER).iterdir()
    content, other = path.read_bytes(), io.BytesIO()
    np.savez(other, SOURCE=np.array(source_hash()), RUN=np.array(["a", "b"]), SECONDS=np.ones(1), STARTED=np.ones(1))
    harmed = {"cut off": content[: len(content) // 2], "not a zip": b"x" * 100, "empty": b""}
    path.write_bytes({**harmed, "another file": other.getvalue()}[harm])
    with ResultsWriter(store, SPEC) as writer:
        assert writer.unfinished.known("a") is None
    assert not (store / FOLDER).exists()


def test_what_other_code_left_is_not_gone_on_from(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResultsWriter(store, SPEC) as writer:
        writer.unfinished.record(["a"], [cut(1)])
    monkeypatch.setattr("stackpop.store.unfinished.source_hash", lambda: "other")
    with ResultsWriter(store, SPEC) as writer:
        assert writer.unfinished.known("a") is None


def test_status_tells_how_many_runs_go_on_from_the_middle(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each once, whatever files it is in; and those that other code left do not."""
    with ResultsWriter(store, SPEC) as writer:
        writer.unfinished.record(["a", "b"], [cut(1), cut(2)])
        writer.unfinished.record(["b"], [cut(2, made=20)])
        assert count_unfinished(store) == 2
    status(str(store), read_progress(store), count_unfinished(store))
    assert "2 runs have ended some" in capsys.readouterr().out
    monkeypatch.setattr("stackpop.store.unfinished.source_hash", lambda: "other")
    assert count_unfinished(store) == 0
    status(str(store), read_progress(store), count_unfinished(store))
    assert "segments" not in capsys.readouterr().out


def test_nothing_is_unpickled(store: Path) -> None:
    """A store may be a stranger's."""
    with ResultsWriter(store, SPEC) as writer:
        writer.unfinished.record(["a"], [cut(1)])
    (path,) = (store / FOLDER).iterdir()
    with np.load(path) as found:
        members = dict(found)
    np.savez(path, **{**members, "made": np.array([Trap()], dtype=object)}, allow_pickle=True)
    with ResultsWriter(store, SPEC) as writer:
        assert writer.unfinished.known("a") is None


class Trap:
    """An object that says so if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("unpickled",)


def test_readers_do_not_meet_it(store: Path, recwarn: pytest.WarningsRecorder) -> None:
    with ResultsWriter(store, SPEC) as writer:
        before = members(store)
        writer.unfinished.record(["a"], [cut(1)])
    assert members(store) == before
    assert open_results(store).sizes == xr.open_zarr(store).sizes
    assert set(xr.open_datatree(store, engine="zarr").children) == set()
    assert not recwarn.list


def members(store: Path) -> set[str]:
    return {name for name, _ in zarr.open_group(store).members()}
