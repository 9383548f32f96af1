"""Names of runs and of followers, and the packs that they share."""

from __future__ import annotations

import pytest

from stackpop.errors import SpecError
from stackpop.games import MATRICES
from stackpop.learners.contextual import ContextualSettings
from stackpop.learners.exact import ExactSettings
from stackpop.learners.pg import PGSettings
from stackpop.learners.ppo import PPOSettings
from stackpop.spec import GameSettings, RunSpec, parse_sweep
from sweep_texts import SWEEP, hero


def test_ids_do_not_change_between_versions() -> None:
    """A store finds its finished runs by these ids, so a change of any of them loses every stored run."""
    run = hero(
        game=GameSettings(memory="opponent", rounds=5, reward_offset=-2.5),
        commitment="replay",
        leader=PGSettings(lr=0.008, updates=500, batch_steps=100),
        follower=ContextualSettings(lr=0.02, updates=500, batch_steps=100, early_stop=True, post_updates=50),
        evaluation_episodes=10,
        seed=3,
    )
    follower = run.follower_spec()
    assert follower is not None
    assert (run.run_id, follower.follower_id) == ("e686add564", "f1d3c1b011")
    assert (run.label, follower.label) == ("hero-s3-lr0.008", "hero-s3")


def test_ids_are_distinct_and_followers_are_shared() -> None:
    sweep = parse_sweep(SWEEP, "s")
    runs = [sweep.run(index) for index in sweep.indices()]
    followers = [follower for run in runs if (follower := run.follower_spec())]
    assert len({run.run_id for run in runs}) == len(runs) == len(followers)
    assert len({follower.follower_id for follower in followers}) == 16  # matrix, follower.lr, rounds and seed
    assert all(follower.follower.post_updates == 0 for follower in followers)


@pytest.mark.parametrize("setting", [{"post_updates": 7}, {"max_regret": 0.5}])
def test_what_only_leaders_read_makes_no_other_follower(setting: dict[str, object]) -> None:
    plain, other = hero(), hero(follower={"oracle": "contextual", **setting})
    assert other.run_id != plain.run_id
    assert other.follower_spec() == plain.follower_spec()


def test_the_exact_oracle_needs_no_follower_training() -> None:
    assert hero(follower=ExactSettings()).follower_spec() is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"seed": 9}, True),
        ({"matrix": "battle", "payoffs": MATRICES["battle"]}, True),
        ({"leader": PPOSettings(lr=0.5)}, True),
        ({"follower": ContextualSettings(lr=0.5)}, True),
        ({"game": GameSettings(reward_offset=0.0)}, True),
        ({"payoffs": MATRICES["hero"][:1]}, False),
        ({"leader": PPOSettings(updates=3)}, False),
        ({"leader": PGSettings()}, False),
        ({"follower": ContextualSettings(post_updates=3)}, False),
        ({"follower": ExactSettings()}, False),
        ({"game": GameSettings(rounds=3)}, False),
        ({"commitment": "replay"}, False),
        ({"evaluation_episodes": 3}, False),
    ],
)
def test_a_pack_holds_runs_that_differ_only_in_numbers(change: dict[str, object], same: bool) -> None:
    base, other = hero(), hero(**change)
    assert (base.pack_key == other.pack_key) is same
    assert base.run_id != other.run_id


def test_follower_packs_ignore_the_leader() -> None:
    runs = [hero(leader=leader, seed=seed) for leader in (PGSettings(), PPOSettings()) for seed in (1, 2)]
    assert len({follower.pack_key for run in runs if (follower := run.follower_spec())}) == 1


def test_a_wrong_run_spec_is_a_spec_error() -> None:
    text = hero().to_yaml()
    with pytest.raises(SpecError, match=r"spec:\d+:\d+: seed: expected a whole number, got 'x'"):
        RunSpec.from_yaml(text.replace("seed: 1", "seed: x"))
    with pytest.raises(SpecError, match="payoffs: expected payoffs of a game"):
        RunSpec.from_yaml("matrix: hero\npayoffs: [[1]]")
