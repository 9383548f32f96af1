"""The page `/stackpop` and the gauges of a scheduler: what the client tells, and what is shown of it."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from stackpop.cluster import board as shown
from stackpop.cluster.page import Page
from stackpop.cluster.workers import dashboard
from stackpop.results import TrainingResult
from stackpop.spec import SweepSpec, parse_sweep
from stackpop.store import Status
from stackpop.sweep.board import MOST_COLUMNS, MOST_ROWS, Board
from stackpop.sweep.plan import make_plan
from stackpop.sweep.progress import Progress

SWEEP = """\
follower: {{oracle: exact}}
leader: {{algorithm: pg, updates: 2}}
axes:
  seed: {seeds}
  matrix: {matrices}
"""


class NoClient:
    """A board that only gathers needs no scheduler."""

    scheduler = loop = None


def sweep(seeds: list[int], matrices: list[str]) -> SweepSpec:
    return parse_sweep(SWEEP.format(seeds=seeds, matrices=matrices), "boarded")


def progress(spec: SweepSpec) -> Progress:
    nothing = np.zeros(spec.shape, dtype=np.int8)
    plan = make_plan(spec, nothing, None, retry_failed=False, runs_per_task=1, threads=1)
    return Progress(plan, done=1, failed=0, finished_now=1, env_steps=50)


def result(gap: float, **more: str) -> TrainingResult:
    return TrainingResult({} if more else {"equilibrium_gap": np.array([9.0, gap])}, **more)


def test_a_row_each_game_with_the_statuses_of_its_runs() -> None:
    spec = sweep([1, 2, 3], ["chicken", "hero"])
    status = np.array([[Status.DONE, Status.PENDING], [Status.FAILED, Status.RUNNING], [Status.BLOCKED, Status.DONE]])
    told = Board(NoClient(), spec).message(progress(spec), status.astype(np.int8))
    names = list(shown.COLOURS)
    assert told["games"] == ["chicken", "hero"]
    assert [[names[cell] for cell in row] for row in told["cells"]] == [
        ["done", "failed", "blocked"],
        ["pending", "running", "done"],
    ]
    assert told["counts"] == {"pending": 1, "running": 1, "done": 2, "failed": 1, "blocked": 1}
    assert told["runs_a_game"] == 3


def test_gaps_are_of_the_last_update_and_of_runs_that_have_one() -> None:
    spec = sweep([1, 2], ["chicken", "hero"])
    board = Board(NoClient(), spec)
    board.record((0, 1), result(3.0))
    board.record((1, 1), result(1.0))
    board.record((0, 0), result(0.0, error="broken"))
    told = board.message(progress(spec), np.zeros(spec.shape, dtype=np.int8))
    assert math.isnan(told["gap_mean"][0])
    assert math.isnan(told["gap_best"][0])
    assert (told["gap_mean"][1], told["gap_best"][1]) == (2.0, 1.0)


def test_many_runs_share_cells_and_the_most_urgent_shows() -> None:
    spec = sweep(list(range(3 * MOST_COLUMNS)), ["chicken"])
    status = np.full(spec.shape, Status.DONE, dtype=np.int8)
    status[4, 0], status[-1, 0] = Status.FAILED, Status.RUNNING
    cells = Board(NoClient(), spec).message(progress(spec), status)["cells"]
    names = list(shown.COLOURS)
    assert [len(row) for row in cells] == [MOST_COLUMNS]
    assert [names[cell] for cell in cells[0]] == ["done", "failed", *["done"] * (MOST_COLUMNS - 3), "running"]


def test_many_games_share_rows() -> None:
    games = [f"g{k}" for k in range(2 * MOST_ROWS)]
    matrices = "".join(f"  {name}: [[[1, 2]]]\n" for name in games)
    text = f"payoffs:\n{matrices}{SWEEP.format(seeds=[1], matrices=games)}"
    spec = parse_sweep(text, "boarded")
    board = Board(NoClient(), spec)
    board.record((0, 3), result(5.0))
    told = board.message(progress(spec), np.zeros(spec.shape, dtype=np.int8))
    assert len(told["games"]) == len(told["cells"]) == MOST_ROWS
    assert told["games"][:2] == ["g0 … g1", "g2 … g3"]
    assert told["gap_mean"][1] == 5.0


@pytest.fixture
def client() -> Iterator[Client]:
    settings = {"distributed.scheduler.preload": [shown.PRELOAD]}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=0, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def told(client: Client, **changes: Any) -> dict[str, Any]:
    """Tell the scheduler of a small sweep, with some changes."""
    spec = sweep([1, 2], ["chicken", "hero"])
    board = Board(client, spec)
    board.record((0, 1), result(3.0))
    message = {**board.message(progress(spec), np.zeros(spec.shape, dtype=np.int8)), **changes}
    client.log_event(shown.TOPIC, message)
    return message


def fetched(client: Client, page: str) -> str:
    address = client.dashboard_link.removesuffix("/status")
    with urllib.request.urlopen(f"{address}{page}", timeout=30) as answer:
        return str(answer.read().decode())


def test_the_page_shows_what_was_told_last(client: Client) -> None:
    assert dashboard(client) == client.dashboard_link.removesuffix("status") + "stackpop"
    assert "<title>stackpop</title>" in fetched(client, shown.PAGE)  # before there is a sweep
    told(client)
    message = told(client, counts=dict.fromkeys(shown.COLOURS, 7))
    page = Page(client.cluster.scheduler)
    page.update()
    assert page._headline.text.startswith("boarded: 7 done, 7 blocked, 7 pending, 7 running, 7 failed")
    assert page._cells.data["image"][0].tolist() == message["cells"][::-1]
    assert page._gaps.data["mean"][1] == 3.0
    assert page._population.yaxis[0].major_label_overrides == {1.5: "chicken", 0.5: "hero"}


def test_names_from_files_stay_text(client: Client) -> None:
    told(client, sweep="<b>boarded</b>")
    page = Page(client.cluster.scheduler)
    page.update()
    assert page._headline.render_as_text
    assert "<b>boarded" not in fetched(client, shown.PAGE)


def test_gauges_for_prometheus(client: Client) -> None:
    told(client)
    lines = fetched(client, "/metrics").splitlines()
    assert 'stackpop_runs{status="pending",sweep="boarded"} 4.0' in lines
    assert 'stackpop_equilibrium_gap_mean{game="hero",sweep="boarded"} 3.0' in lines
    assert not any("chicken" in line for line in lines)  # no gap is known
    assert any(line.startswith("stackpop_env_steps_per_second") for line in lines)


def test_another_scheduler_after_this_one_has_gauges_of_its_own(client: Client) -> None:
    scheduler = client.cluster.scheduler
    shown.dask_teardown(scheduler)
    assert not shown.is_shown(scheduler)
    told(client)
    assert "stackpop_runs" not in fetched(client, "/metrics")


def test_a_scheduler_that_does_not_know_the_page_shows_dasks() -> None:
    with (
        LocalCluster(n_workers=0, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert dashboard(client) == client.dashboard_link
        told(client)  # is taken all the same
