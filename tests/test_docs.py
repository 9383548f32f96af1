"""What the documents tell a reader to do works."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from stackpop.cli import main
from stackpop.spec import load_sweep, parse_sweep
from support import trained_store

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


SET_UP, TESTS, FIGURE, USE, LOOK = blocks("sh")


def test_ci_runs_the_commands_of_the_readme_word_for_word() -> None:
    marked = [
        line.removesuffix(" # README") for line in (ROOT / ".ci/run").read_text().splitlines() if "# README" in line
    ]
    assert marked == [SET_UP.strip(), TESTS.strip()]


def test_the_sweep_file_of_the_readme_is_valid() -> None:
    (text,) = blocks("yaml")
    sweep = parse_sweep(text, "readme")
    assert sweep.shape == (2, 3, 5)
    assert yaml.safe_load(text)["payoffs"]["my_game"][1][0] == [5, 0]
    assert [claim.test for claim in sweep.claims] == [
        "leader_return [leader.lr=0.008] > leader_return [leader.lr=0.016] where [matrix=chicken]"
    ]


@pytest.mark.parametrize(
    "line", [line for line in USE.splitlines() if line.startswith(("stackpop solve", "stackpop games"))]
)
def test_commands_that_need_no_sweep(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert "prisoners_dilemma" in capsys.readouterr().out or "mixed" in line or "/" in line


@pytest.mark.parametrize("line", [line for line in USE.splitlines() if line.startswith("stackpop sweep")])
def test_sweep_commands_name_files_and_options_that_exist(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert any(file.is_file() for file in ROOT.glob(words[2]))  # some lines name a pattern
    options = (ROOT / "stackpop/cli.py").read_text()
    for word in words[3:]:
        if word.startswith("--"):
            assert word[2:].replace("-", "_") in options.replace("-", "_")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store results/quick.zarr of a short sweep."""
    folder = tmp_path_factory.mktemp("docs")
    short = [
        "leader.updates=2",
        "follower.updates=2",
        "follower.post_updates=0",
        "leader.batch_steps=1000",
        "leader.lr=5",
    ]
    trained_store(folder / "results/quick.zarr", load_sweep(ROOT / "sweeps/quick.yaml", short))
    return folder


@pytest.mark.parametrize("line", [FIGURE.split(" && .venv/bin/")[1], *LOOK.splitlines()])
def test_commands_that_look_at_a_store_write_what_they_say(
    line: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").symlink_to(folder / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(line.replace("allmatrices.zarr", "quick.zarr"), comments=True))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert Path(capsys.readouterr().out.removeprefix("written to ").strip()).stat().st_size > 1000


def test_the_analysis_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (code,) = (block for block in blocks("python") if "analysis" in block and "open_results" in block)
    exec(code, {})


def test_every_part_of_the_package_is_on_the_map() -> None:
    _, table = README.split("## Where things are")
    for path in (ROOT / "stackpop").iterdir():
        if (path.suffix == ".py" and not path.name.startswith("_")) or (path.is_dir() and path.name != "__pycache__"):
            assert path.name in table, path
