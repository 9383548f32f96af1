"""The names that other people's code may rely on; a change here is a change for them."""

import subprocess
import sys

import pytest

import stackpop
from stackpop import analysis

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


def test_the_analysis_lists_its_functions() -> None:
    functions = [name for name in analysis.__all__ if callable(getattr(analysis, name)) and name.islower()]
    assert len(functions) > 20
    for name in functions:
        assert f"`{name}`" in str(analysis.__doc__), name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_swep'"):
        stackpop.run_swep  # noqa: B018  (the access is the test)


def test_public_names_need_no_import_of_a_submodule() -> None:
    code = "import stackpop; stackpop.open_results; stackpop.run_sweep; stackpop.load_sweep"
    subprocess.run([sys.executable, "-c", code], check=True)
