"""The sweep files of `sweeps/`: each trains, and shows what it was made to show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from shortened import FILES, NAMES, shortened
from stackpop.analysis import Outcome, check_claims, open_sweep
from stackpop.spec import SweepSpec, load_sweep
from stackpop.store import Status
from stackpop.sweep import SweepOptions, execute

# Sizes at which the mechanism shows already: fewer updates, larger steps, five seeds.
SEEDS = {"axes.seed": "[1, 2, 3, 4, 5]"}
MECHANISMS = {
    "smipd_hiddenqueries_pg_pg": {"leader.updates": 400, "leader.lr": 0.03},
    "smipd_hiddenqueries_dqn_pg": {"leader.updates": 600},
    "smipd_hiddenqueries_es_pg": {"leader.updates": 60},
    "smipd_querybit_pg_pg": {"leader.updates": 400, "axes.leader.lr": "[0.03]"},
    "bots_reset_pg_tabularq": {"axes.leader.lr": "[0.015]", "axes.seed": str(list(range(1, 11)))},
    "bots_outofeq_dqn_tabularq": {},
    "allmatrices_replay": {"leader.updates": 300, "leader.lr": 0.015},
    "allmatrices_replay_contextual": {"leader.updates": 300, "leader.lr": 0.015},
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as c,
        Client(c, set_as_default=False) as client,
    ):
        yield client


def run(client: Client, spec: SweepSpec, store: Path) -> list[Outcome]:
    """Run a sweep to its end; the outcomes of its claims."""
    execute(spec, SweepOptions(store, "auto"), client=client)
    with open_sweep(store, spec) as results:
        assert (results.status == Status.DONE).all(), results.error.values
        return check_claims(results, spec.claims, spec.search)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_file_trains(client: Client, tmp_path: Path, file: Path) -> None:
    spec = shortened(file)
    outcomes = run(client, spec, tmp_path / "short.zarr")
    assert len(outcomes) == len(spec.claims)


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_the_mechanism_shows_in_fewer_updates(client: Client, tmp_path: Path, name: str) -> None:
    file = FILES[NAMES.index(name)]
    for outcome in run(client, load_sweep(file, {**SEEDS, **MECHANISMS[name]}), tmp_path / "mechanism.zarr"):
        expected = "not held" if outcome.claim.note else "held"  # a note explains what does not show
        assert outcome.status == expected, f"{outcome.claim.text} {outcome}"


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_claims_at_full_size(client: Client, tmp_path: Path, file: Path) -> None:
    """What `sweeps/README.md` records."""
    for outcome in run(client, load_sweep(file), tmp_path / "full.zarr"):
        expected = "not held" if outcome.claim.note else "held"
        assert outcome.status == expected, f"{outcome.claim.text} {outcome}"
