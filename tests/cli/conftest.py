"""The command in this process, folders with a sweep file, and stores that it tells about."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from answers import CLAIMS, RATES, Call, write_results
from command import TINY, Answer, stackpop
from stackpop.cli import main
from stackpop.spec import parse_sweep


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Call]:
    """The command in this process, for what needs no process of its own; the current folder is `folder`."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return Answer(int(exit_.value.code or 0), *capfd.readouterr())

    yield run
    logging.disable(logging.NOTSET)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sweep file tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A folder with a finished sweep's store tiny.zarr, and what the command said."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    return folder, stackpop("sweep", "tiny.yaml", "--store", "tiny.zarr", "--workers", 1, cwd=folder)


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store over leader_lr, matrix and seed with known returns: 0.2 earns 1 more, battle 10 more."""
    store = tmp_path_factory.mktemp("rated") / "rated.zarr"
    spec = parse_sweep(RATES + CLAIMS, "rated")
    write_results(spec, store, lambda at: at[0] + 10 * at[1] + 100 * at[2])
    return store
