"""CONTRIBUTING.md is followed block by block on a copy of the project, and what it adds must pass the contracts."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"^ *```(python|diff)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def apply_diff(folder: Path, block: str) -> None:
    """Apply a diff whose hunks give no line numbers: each hunk's old lines must stand in the file exactly once."""
    header, *hunks = re.split(r"^@@\n", block, flags=re.MULTILINE)
    file = folder / re.search(r"^\+\+\+ b/(.*)$", header, re.MULTILINE)[1]
    text = file.read_text()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        assert text.count(old) == 1, f"{file}: {old!r}"
        text = text.replace(old, "".join(line[1:] for line in lines if line[0] in " +"))
    file.write_text(text)


def follow_guide(folder: Path) -> None:
    """Write every new file and apply every diff of the guide."""
    for kind, indented in BLOCK.findall(GUIDE):
        block = textwrap.dedent(indented)
        if kind == "diff":
            apply_diff(folder, block)
        else:
            (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended")
    for part in ("stackpop", "tests", "sweeps"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    follow_guide(folder)
    return folder


def run(folder: Path, *arguments: str) -> str:
    # -P would keep the folder out of the path; -c and -m put it first, before the installed package.
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guide_adds_one_of_each(extended: Path) -> None:
    assert len(BLOCK.findall(GUIDE)) == 5
    file = run(extended, "-c", "import stackpop.learners as learners; print(learners.__file__)").strip()
    assert Path(file).is_relative_to(extended)


def test_what_was_added_passes_the_contracts(extended: Path) -> None:
    names = "matching_pennies or baseline_pg or myopic or BaselinePG or Myopic"
    report = run(extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts", "-k", names)
    for name in ("matching_pennies", "baseline_pg", "myopic"):
        assert name in run(extended, "-m", "pytest", "--collect-only", "-q", "tests/contracts", "-k", name)
    assert "passed" in report


def test_what_was_added_can_be_swept(extended: Path) -> None:
    settings = ["leader.algorithm=baseline_pg", "follower.oracle=myopic", "matrix=matching_pennies", "leader.updates=3"]
    code = f"""
from stackpop.spec import parse_sweep
from stackpop.training import train_leaders
sweep = parse_sweep("game: {{rounds: 2}}", "added", {settings})
(result,) = train_leaders([sweep.run(())], {{}})
print(result.error or result.arrays["leader_return"].shape)
"""
    assert run(extended, "-c", code).strip() == "(3,)"
