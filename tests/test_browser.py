"""Reports, figures and the dashboard's page, drawn in a real browser that reaches nothing else."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import free_port, started, until
from stackpop.figures import KINDS, Request, draw, save
from stackpop.report import write_report
from stackpop.results import TrainingResult
from stackpop.spec import load_sweep
from stackpop.store import ResultsWriter, Status
from support import trained_store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
ROOT = Path(__file__).parent.parent
SHORT = ["leader.updates=5", "follower.updates=5", "follower.post_updates=2", "leader.batch_steps=100"]
OPTIONS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
DRAWN = "window.Bokeh !== undefined && Bokeh.documents.length === {} && Bokeh.documents.every(d => d.is_idle)"
# A figure without anything drawn is a canvas of one colour; Bokeh's lie in shadow roots.
PAINTED = """() => {
  const canvases = [];
  const look = (root) => {
    for (const each of root.querySelectorAll("*")) {
      if (each.tagName === "CANVAS" && each.width * each.height > 0) canvases.push(each);
      if (each.shadowRoot) look(each.shadowRoot);
    }
  };
  look(document);
  return canvases.filter((canvas) => {
    const context = canvas.getContext("2d");
    if (!context) return false;
    const data = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(data).size > 8;
  }).length;
}"""
SOME_DONE = re.compile(r"\b([5-9]|\d{2,}) done")
READING = ("ReadPixels", "getImageData")  # what a browser minds about a test that reads canvases again and again


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of sweeps/quick.yaml."""
    spec = load_sweep(ROOT / "sweeps/quick.yaml", SHORT)
    return trained_store(tmp_path_factory.mktemp("browser") / "quick.zarr", spec)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("apt-get install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, chromium_sandbox=False, args=OPTIONS)
        yield started
        started.close()


def opened(browser: Any, *, offline: bool = False) -> tuple[Any, list[str], list[str]]:
    """A page of its own, what it asks for, and what it complains of."""
    page = browser.new_context(offline=offline, viewport={"width": 1200, "height": 900}).new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, asked, said


def look_at(browser: Any, file: Path, figures: int) -> Any:
    """Open a page, wait until its figures are drawn, and check that it asked for nothing and complained of nothing."""
    page, asked, said = opened(browser, offline=True)
    page.goto(file.as_uri())
    page.wait_for_function(DRAWN.format(figures), timeout=60_000)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
    assert said == []
    return page


# Mutes the first line of a legend, of each figure; then, whether all glyphs of that name are muted.
MUTE = """() => {
  window.alike = Bokeh.documents.map((document) => {
    const glyphs = [...document._all_models.values()].filter((each) => each.type === "GlyphRenderer");
    const told = glyphs.find((each) => each.js_property_callbacks["change:muted"]);
    if (told) told.muted = true;
    return glyphs.filter((each) => told && each.name === told.name);
  }).filter((glyphs) => glyphs.length > 0);
  return alike.map((glyphs) => glyphs.length);
}"""
ALL_MUTED = "alike.every((glyphs) => glyphs.every((each) => each.muted))"


def wait_for_paint(page: Any, canvases: int) -> None:
    page.wait_for_function(f"({PAINTED})() >= {canvases}", timeout=60_000)


def test_the_report_draws_all_its_figures_and_asks_for_nothing(browser: Any, store: Path, tmp_path: Path) -> None:
    write_report(str(store), tmp_path / "report.html")
    page = look_at(browser, tmp_path / "report.html", 6)
    assert page.title() == "quick – stackpop"
    wait_for_paint(page, 6)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    assert page.locator("h3").count() == 6
    assert min(page.evaluate(MUTE)) > 1
    page.wait_for_function(ALL_MUTED, timeout=60_000)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"search", "compare"}))
def test_each_figure_is_drawn(browser: Any, store: Path, tmp_path: Path, kind: str) -> None:
    save(draw(kind, Request(str(store))), tmp_path / "figure.html")
    wait_for_paint(look_at(browser, tmp_path / "figure.html", 1), 1)


def test_a_page_that_asks_for_something_is_noticed(browser: Any, store: Path, tmp_path: Path) -> None:
    save(draw("gap", Request(str(store))), tmp_path / "figure.html")
    page = (tmp_path / "figure.html").read_text()
    (tmp_path / "asking.html").write_text(page.replace("</body>", '<img src="https://example.org/a.png"></body>'))
    with pytest.raises(AssertionError):
        look_at(browser, tmp_path / "asking.html", 1)


def test_the_page_of_the_dashboard_follows_a_sweep(browser: Any, tmp_path: Path) -> None:
    port = free_port()
    options = ["--store", tmp_path / "watched.zarr", "--workers", 1, "--dashboard-port", port]
    file = ROOT / "sweeps/allmatrices.yaml"
    page, asked, said = opened(browser)
    with started(sys.executable, "-m", "stackpop", "sweep", file, *options, cwd=tmp_path) as sweep:
        until(lambda: answers(port))
        page.goto(f"http://127.0.0.1:{port}/stackpop")
        page.get_by_text("allmatrices: ").filter(has_text=SOME_DONE).wait_for(timeout=120_000)
        page.wait_for_function(DRAWN.format(1), timeout=60_000)
        wait_for_paint(page, 2)  # the population and the gaps
        assert [url for url in asked if f"127.0.0.1:{port}/" not in url and not url.startswith("data:")] == []
        assert said == []
        page.context.close()
        sweep.send_signal(signal.SIGINT)
        sweep.wait(60)


def test_a_watched_store_is_drawn_and_followed(browser: Any, store: Path, tmp_path: Path) -> None:
    """A page that stays open tells of the runs that end, and asks for nothing elsewhere."""
    growing = tmp_path / "quick.zarr"
    shutil.copytree(store, growing)
    port = free_port()
    page, asked, said = opened(browser)
    command = [sys.executable, "-m", "stackpop", "watch", growing, "--port", port, "--every", 1]
    with started(*command, cwd=tmp_path) as server:
        until(lambda: answers(port))
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_text("15 runs: 15 done").wait_for(timeout=60_000)
        wait_for_paint(page, 6)
        page.get_by_role("heading", level=3).nth(5).wait_for(timeout=60_000)
        more = load_sweep(ROOT / "sweeps/quick.yaml", [*SHORT, "axes.seed=[1, 2, 3, 4, 5, 6]"])
        with ResultsWriter(growing, more) as writer:
            page.get_by_text("18 runs: 3 pending, 15 done, being written now").wait_for(timeout=60_000)
            for index in more.indices():
                if writer.leaders.status[index] != Status.DONE:
                    writer.leaders.record(index, TrainingResult({}, "no payoffs <b>today</b>"))
        page.get_by_text("18 runs: 15 done, 3 failed").wait_for(timeout=60_000)
        assert page.get_by_text("no payoffs <b>today</b>").count() == 3
        wait_for_paint(page, 6)
        assert [url for url in asked if f"127.0.0.1:{port}/" not in url and not url.startswith("data:")] == []
        assert [text for text in said if not any(word in text for word in READING)] == []
        page.context.close()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
