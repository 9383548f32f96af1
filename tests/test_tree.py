"""The repository holds what people wrote, in the places agreed on, and nothing that a tool left there."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"stackpop", "sweeps", "tests", "deploy", ".ci"}
FILES = {
    "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt",
    ".gitignore", ".dockerignore",
}  # fmt: skip
LARGEST = 400_000  # bytes: a picture at most


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository, so nobody can commit a file too many")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if (ROOT / name).is_file()]


def test_the_top_level_is_the_one_agreed_on(tracked: list[Path]) -> None:
    assert {path.parts[0] for path in tracked} == FOLDERS | FILES


def test_no_file_is_an_archive_or_large(tracked: list[Path]) -> None:
    archives = {".whl", ".zip", ".gz", ".tar", ".npz", ".npy", ".pkl"}
    odd = [path for path in tracked if path.suffix in archives or (ROOT / path).stat().st_size > LARGEST]
    assert odd == []
