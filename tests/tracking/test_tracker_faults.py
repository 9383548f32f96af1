"""What goes wrong with a tracker costs a sweep nothing but a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import command
from command import TINY, Answer, stackpop
from stackpop.cli import main
from stackpop.errors import StoreError, TrackerFailedError, TrackingError
from stackpop.tracking import default_folder, replay


def test_a_tracker_that_fails_costs_a_sweep_one_line(
    swept: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = swept
    monkeypatch.setitem(command.ENVIRONMENT, "WANDB_API_KEY", "short")
    answer = stackpop("sweep", "tiny.yaml", "--store", "tiny.zarr", cwd=folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("warning: tracking: tracker wandb") == 1
    assert "`stackpop track tiny.zarr --to wandb`" in answer.out.splitlines()[-1]


def test_faults_of_a_tracker_are_one_line(store: Path) -> None:
    default_folder(store).mkdir()
    (default_folder(store) / "tensorboard").write_text("in the way")
    with pytest.raises(TrackerFailedError, match="expected an answer, got NotADirectoryError") as found:
        replay(store, "tensorboard")
    assert "\n" not in str(found.value)


@pytest.mark.slow
def test_a_tracker_that_hangs_is_given_up(store: Path) -> None:
    code = f"""
import time
import stackpop.cli
from stackpop.tracking.tensorboard import TensorBoard
stackpop.cli.TRACKER_SECONDS = 1
TensorBoard.log = lambda *_: time.sleep(600)
stackpop.cli.main(["track", {str(store)!r}, "--to", "tensorboard"])
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], env=command.ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: tracker tensorboard: no answer for 1 s")
    assert answer.stderr.count("\n") == 1


def test_a_missing_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    (store.parent / "tiny.yaml").write_text(TINY)
    new = str(store.parent / "new.zarr")
    for command_line in (["sweep", str(store.parent / "tiny.yaml"), "--store", new, "--track"], ["track", new, "--to"]):
        with pytest.raises(TrackingError, match=r"wandb: expected the package .* pip install 'stackpop\[track\]'"):
            main(["--debug", *command_line, "wandb"])
    assert not Path(new).exists()


def test_what_is_no_store_gets_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, got nothing"):
        replay(tmp_path / "nothing.zarr", "tensorboard")
    assert list(tmp_path.iterdir()) == []
