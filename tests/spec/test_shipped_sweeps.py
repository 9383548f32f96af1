"""The files in sweeps/ load, and hold what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpop.games import CANONICAL
from stackpop.learners.contextual import ContextualSettings
from stackpop.learners.exact import ExactSettings
from stackpop.learners.pg import PGSettings
from stackpop.learners.ppo import PPOSettings
from stackpop.spec import GameSettings, SweepSpec, load_sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"


def shipped(name: str) -> SweepSpec:
    return load_sweep(SWEEPS / f"{name}.yaml")


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files_load_and_say_what_they_show(path: Path) -> None:
    sweep = load_sweep(path)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert sweep.description
    assert len({sweep.run(index).run_id for index in sweep.indices()}) == sweep.size


@pytest.mark.parametrize("name", ["allmatrices", "allmatrices_replay"])
def test_allmatrices_are_the_twelve_games_and_five_seeds(name: str) -> None:
    sweep = shipped(name)
    assert sweep.axes == {"matrix": tuple(CANONICAL), "seed": (1, 2, 3, 4, 5)}
    run = sweep.run((0, 0))
    assert run.game == GameSettings(memory="joint", rounds=10, reward_offset=-2.5)
    assert (run.leader.lr, run.leader.updates, run.evaluation_episodes) == (0.008, 500, 10)


def test_allmatrices_has_the_published_learners() -> None:
    run, replay = (shipped(name).run((0, 0)) for name in ("allmatrices", "allmatrices_replay"))
    pg = shipped("ipd_allmatrices_pg_pg").run((0, 0, 0))
    published = PPOSettings(
        batch_steps=1000,
        epochs=30,
        clip=0.3,
        kl_coefficient=0.2,
        kl_target=0.01,
        value_coefficient=1.0,
        value_clip=10.0,
    )
    assert run.leader == replay.leader == published
    assert pg.leader == PGSettings(batch_steps=100)
    follower = ContextualSettings(lr=0.02, updates=500, batch_steps=100, early_stop=True, post_updates=50)
    assert run.follower == pg.follower == follower
    assert run.follower_spec() == pg.follower_spec()
    assert replay.follower == ExactSettings()
    assert (run.commitment, pg.commitment, replay.commitment) == ("resample", "resample", "replay")
