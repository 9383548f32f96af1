"""The names that other people's code may rely on; a change here is a change for them."""

import subprocess
import sys

import pytest

import stackpop

PUBLIC = [
    "Game",
    "RunSpec",
    "StackpopError",
    "SweepSpec",
    "ground_truth",
    "load_sweep",
    "open_results",
    "run_sweep",
]


def test_public_names() -> None:
    assert sorted(stackpop.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(stackpop, name).__module__.startswith("stackpop")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_swep'"):
        stackpop.run_swep  # noqa: B018  (the access is the test)


def test_public_names_need_no_import_of_a_submodule() -> None:
    code = "import stackpop; stackpop.open_results; stackpop.run_sweep; stackpop.load_sweep"
    subprocess.run([sys.executable, "-c", code], check=True)
