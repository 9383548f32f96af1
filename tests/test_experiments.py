"""The sweep files of `sweeps/`: each trains, and shows what it was made to show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from stackpop.analysis import Outcome, check_claims, open_sweep
from stackpop.spec import SweepSpec, load_sweep
from stackpop.store import Status
from stackpop.sweep import SweepOptions, execute

FILES = sorted((Path(__file__).parent.parent / "sweeps").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
# What makes each file short enough for every day: a few updates of everything.
SHORT = {"leader.updates": 3, "follower.updates": 3, "follower.post_updates": 2}
FEW_STEPS = {
    "ipd_allmatrices_ppo_tabularq": {"leader.batch_steps": 100, "follower.games": 5},
    "ipd_allmatrices_ppo_tabularq_large": {"leader.batch_steps": 100, "follower.games": 5},
    "ipd_allmatrices_pg_pg": {"axes.leader.updates": "[2, 3]", "claims": "[]"},
    "sample_efficiency": {"axes.follower.oracle": "[contextual]", "axes.leader.batch_steps": "[100]", "claims": "[]"},
    "larger_games": {"leader.batch_steps": 100, "follower.batch_steps": 100},
}
FEW_LEADERS = {"smipd_hiddenqueries_es_pg": {"leader.population": 20}}

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


def shorter(file: Path, settings: dict[str, object]) -> SweepSpec:
    """A sweep with settings that it has given other values; those it has not are left out."""
    spec = load_sweep(file)
    whole = ("axes.", "claims")
    known = {name: value for name, value in settings.items() if name.startswith(whole) or spec.values(name)}
    return load_sweep(file, {key: value for key, value in known.items() if key not in spec.axes})


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_file_trains(client: Client, tmp_path: Path, file: Path) -> None:
    few = {"axes.seed": "[1, 2]", **SHORT, **FEW_STEPS.get(file.stem, {}), **FEW_LEADERS.get(file.stem, {})}
    spec = shorter(file, few)
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
