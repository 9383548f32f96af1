"""Files of strangers, sweep files and stores alike, run no code and name no place outside of the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command import TINY
from stackpop.analysis import read_findings
from stackpop.errors import SpecError, TrackingError
from stackpop.report.markdown import write_page
from stackpop.spec import load_cluster, load_sweep, parse_sweep
from stackpop.sweep import SweepOptions
from stackpop.tracking import replay
from support import trained_store

TAGS = [
    '!!python/object/apply:os.system ["touch MARK"]',
    '!!python/object/new:os.system ["touch MARK"]',
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [touch MARK]",
    "!!binary bWFyaw==",
]
OUTSIDE = ["../../x", "..", "/tmp/x", "a/b", "a\\b", "~", "$HOME", ".hidden", "<script>alert(1)</script>", "a\nb", ""]


@pytest.mark.parametrize("load", [load_sweep, load_cluster])
@pytest.mark.parametrize("tag", TAGS)
def test_tags_make_nothing(tmp_path: Path, load: Callable[[Path], Any], tag: str) -> None:
    file, mark = tmp_path / "file.yaml", tmp_path / "mark"
    file.write_text(f"kind: {tag.replace('MARK', str(mark))}\n")
    with pytest.raises(SpecError, match=f"{file}:1:7: kind: expected a plain value, got a value tagged"):
        load(file)
    assert not mark.exists()


def test_a_tag_is_one_line() -> None:
    with pytest.raises(SpecError) as caught:
        parse_sweep(f"game: {TAGS[0]}\naxes: {{matrix: [chicken]}}\n", "tiny")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(
        "sweep:1:7: game: expected a plain value, got a value tagged 'python/object/apply:os.system'"
    )


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_stay_among_the_results(name: str) -> None:
    for given in (lambda: parse_sweep(TINY, name), lambda: parse_sweep(TINY, "tiny", [f"name={name!r}"])):
        with pytest.raises(SpecError, match="name: expected a word of letters, digits"):
            given()


@pytest.mark.parametrize("name", ["x", "a.b", "a..b", "x_1-2"])
def test_store_of_a_name_is_in_the_folder_of_results(name: str) -> None:
    assert Path(SweepOptions().store_path(parse_sweep(TINY, name))).resolve().parent == Path("results").resolve()


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_labels_are_words_wherever_they_are_shown(name: str) -> None:
    """In the keys of Dask's dashboard, in figures, in the folders of trackers."""
    payoffs = f"payoffs:\n  {name!r}: [[[1, 1]]]\n"
    with pytest.raises(SpecError, match="expected letters, digits and"):
        parse_sweep(payoffs + TINY.replace("chicken", repr(name)), "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = TINY + "description: <b>bold</b> & more\n" + CLAIM
    return trained_store(tmp_path_factory.mktemp("store") / "tiny.zarr", parse_sweep(text, "tiny"))


CLAIM = """\
claims:
  - text: <script>alert(1)</script> is shown
    note: <img src=x>
    left: {variable: leader_return}
    relation: greater
    right: 0
"""


def test_page_shows_words_and_no_tags(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpop.report.markdown.find_spec", lambda name: None)
    write_page([read_findings(store)], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; is shown" in page
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.parametrize("name", ["../../../outside", "..", "/tmp/outside"])
def test_store_of_a_stranger_is_tracked_in_its_folder_or_not_at_all(store: Path, tmp_path: Path, name: str) -> None:
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["name"] = name
    (store / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(TrackingError, match="sweep: expected names that are words"):
        replay(store, "tensorboard", folder=tmp_path / "a/b/tracking")
    assert not list(tmp_path.rglob("*events*"))
