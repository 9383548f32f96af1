"""Training as a whole: early stop, failures, exact curves, post-training, and what counts as a decision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from stackpop.equilibria import best_responses, pure_commitment
from stackpop.games import LEADER, GameBatch, Payoffs, all_tables, named_payoffs, table_index, table_returns
from stackpop.games.play import LeaderEpisodes, Rounds
from stackpop.learners import TabularQSettings
from stackpop.results import TrainingResult
from stackpop.spec import FollowerSpec, RunSpec
from stackpop.training import train_followers, train_leaders
from stackpop.training.learning import LearningFollowers
from stackpop.training.queried import leader_batch
from support import check_same_bits, random_payoffs, run_spec, train

HARMONY = named_payoffs("harmony")
HUGE = (((1e308, 1e308), (1e308, 1e308)), ((1e308, 1e308), (1e308, 1e308)))


def follower_spec(seed: int = 1, payoffs: Payoffs = HARMONY, offset: float = -2.5, **follower: Any) -> FollowerSpec:
    """A follower training of eight contexts that is done within some hundreds of updates."""
    spec = run_spec(
        "harmony",
        payoffs,
        seed=seed,
        game={"memory": "opponent", "rounds": 5, "reward_offset": offset},
        follower={"oracle": "contextual", "lr": 0.1, "updates": 1000, **follower},
    )
    found = spec.follower_spec()
    assert found is not None
    return found


def short_run(seed: int = 1, payoffs: Payoffs | None = None, **changes: Any) -> RunSpec:
    """A run of a few updates on a random game, with a follower that has learned a little."""
    return run_spec(
        f"random{seed}",
        payoffs or random_payoffs(seed),
        **{
            "seed": seed,
            "game": {"memory": "opponent", "rounds": 4},
            "leader": {"algorithm": "ppo", "updates": 8, "lr": 0.05},
            "follower": {"oracle": "contextual", "updates": 10, "post_updates": 3},
            **changes,
        },
    )


def only(results: list[TrainingResult]) -> dict[str, Any]:
    (result,) = results
    assert result.error == ""
    return result.arrays


def best_responds_to_all(spec: FollowerSpec, result: TrainingResult) -> bool:
    """Whether the greedy follower's table is a best response in every context."""
    replies = torch.from_numpy(result.arrays["follower_logits"]).argmax(-1)
    chosen = table_index(replies, 2).numpy()
    return bool(best_responses(spec.to_game()).is_best[np.arange(len(chosen)), chosen].all())


# --- followers ------------------------------------------------------------------------------------------------------


def test_a_follower_stops_when_it_best_responds_to_every_leader() -> None:
    specs = [follower_spec(seed) for seed in range(1, 9)]
    stopped_at = []
    for spec, result in zip(specs, train_followers(specs), strict=True):
        assert result.error == ""
        regret, updates = result.arrays["follower_regret_sum"], int(result.arrays["updates"])
        stopped_at.append(updates)
        assert len(regret) == updates < spec.follower.updates
        assert regret[-1] == 0
        assert (regret[:-1] > 0).all()
        assert best_responds_to_all(spec, result)
        best = best_responses(spec.to_game()).follower_return.mean()
        assert result.arrays["follower_return"][-1] == pytest.approx(best)
        assert len(result.arrays["env_steps"]) == len(result.arrays["follower_return_sampled"]) == updates
    assert len(set(stopped_at)) > 3  # or the pack below would show nothing
    assert max(stopped_at) > 5


def test_a_follower_that_stopped_is_frozen_while_its_pack_goes_on() -> None:
    specs = [follower_spec(seed) for seed in range(1, 9)]
    for spec, packed in zip(specs, train_followers(specs), strict=True):
        (alone,) = train_followers([spec])
        check_same_bits(alone, packed, spec.label)


def test_early_stop_changes_nothing_but_the_end() -> None:
    stopped = only(train_followers([follower_spec()]))
    n = int(stopped["updates"])
    until_then = only(train_followers([follower_spec(updates=n, early_stop=False)]))
    np.testing.assert_array_equal(stopped["follower_logits"], until_then["follower_logits"])
    beyond = only(train_followers([follower_spec(updates=n + 5, early_stop=False)]))
    assert int(beyond["updates"]) == n + 5
    for name in ("follower_regret_sum", "follower_regret_worst", "follower_return", "follower_return_sampled"):
        assert len(beyond[name]) == n + 5
        np.testing.assert_array_equal(stopped[name], beyond[name][:n])


def test_early_stop_sees_through_rounding() -> None:
    """Equal returns summed in another order differ in the last bit; the follower best-responds all the same."""
    tenths = tuple(tuple((a / 10, b / 10) for a, b in row) for row in named_payoffs("prisoners_delight"))
    specs = [follower_spec(seed, tenths, offset=-0.25) for seed in range(10)]
    stopped = 0
    for spec, result in zip(specs, train_followers(specs), strict=True):
        assert (result.arrays["follower_regret_sum"][-1] == 0) == best_responds_to_all(spec, result)
        stopped += int(result.arrays["updates"]) < spec.follower.updates
    assert stopped > 5


def test_environment_steps_count_queries_and_whole_episodes() -> None:
    """10 rounds and 5 queries: 7 episodes make the follower's 100 steps, 67 the leader's 1,000."""
    spec = run_spec(
        leader={"algorithm": "ppo", "updates": 3, "epochs": 1}, follower={"oracle": "contextual", "updates": 4}
    )
    ((follower, leader),) = train([spec])
    assert follower is not None
    assert follower.arrays["env_steps"].tolist() == [105, 210, 315, 420]
    assert leader.arrays["env_steps"].tolist() == [1005, 2010, 3015]


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_follower_whose_payoffs_overflow_fails_alone() -> None:
    sound = [follower_spec(1), follower_spec(2)]
    broken = follower_spec(3, HUGE)
    first, failed, second = train_followers([sound[0], broken, sound[1]])
    assert failed.failed
    assert failed.arrays == {}
    assert "not finite" in failed.error
    assert "payoffs" in failed.error
    for spec, packed in zip(sound, (first, second), strict=True):
        check_same_bits(train_followers([spec])[0], packed, spec.label)


@pytest.mark.parametrize("commitment", ["resample", "replay"])
@pytest.mark.parametrize("algorithm", ["pg", "ppo"])
def test_a_leader_whose_payoffs_overflow_fails_alone(algorithm: str, commitment: str) -> None:
    changes: dict[str, Any] = {
        "follower": {"oracle": "exact"},
        "commitment": commitment,
        "leader": {"algorithm": algorithm, "updates": 5},
    }
    sound = [short_run(1, **changes), short_run(2, **changes)]
    broken = short_run(3, HUGE, **changes)
    (_, first), (_, failed), (_, second) = train([sound[0], broken, sound[1]])
    assert failed.failed
    assert failed.arrays == {}
    assert "not finite" in failed.error
    for spec, packed in zip(sound, (first, second), strict=True):
        assert not packed.failed
        check_same_bits(train([spec])[0][1], packed, spec.label)


def test_a_run_that_raises_leaves_the_others_of_its_pack() -> None:
    specs = [short_run(seed) for seed in (1, 2, 3)]
    followers = [spec.follower_spec() for spec in specs]
    logits = {
        spec.follower_id: result.arrays["follower_logits"]
        for spec, result in zip(followers, train_followers([f for f in followers if f]), strict=True)
        if spec is not None
    }
    expected = train_leaders(specs, logits)
    assert followers[1] is not None
    del logits[followers[1].follower_id]
    first, failed, last = train_leaders(specs, logits)
    assert failed.error.startswith("KeyError")
    assert failed.arrays == {}
    check_same_bits(expected[0], first, "first")
    check_same_bits(expected[2], last, "last")


# --- leaders' curves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commitment", ["resample", "replay"])
@pytest.mark.parametrize("oracle", ["contextual", "exact"])
def test_gaps_and_regrets_refer_to_the_exact_values(oracle: str, commitment: str) -> None:
    changes: dict[str, Any] = {"follower": {"oracle": "exact"}} if oracle == "exact" else {}
    specs = [short_run(seed, commitment=commitment, **changes) for seed in (1, 2)]
    for spec, (_, leader) in zip(specs, train(specs), strict=True):
        arrays = leader.arrays
        equilibrium = pure_commitment(spec.to_game()).optimistic
        np.testing.assert_allclose(arrays["equilibrium_gap"] + arrays["leader_return"], equilibrium, atol=1e-12)
        assert (arrays["follower_regret"] >= -1e-9).all()
        assert (arrays["leader_return_greedy"] <= equilibrium + 1e-9).all() or oracle == "contextual"


def test_policies_are_recorded_after_every_update() -> None:
    ((_, leader),) = train([short_run()])
    policy = leader.arrays["leader_policy"]
    assert policy.shape == (8, 3, 2)
    np.testing.assert_allclose(policy.sum(-1), 1)
    assert (np.abs(np.diff(policy, axis=0)).max((1, 2)) > 0).all()
    np.testing.assert_allclose(leader.arrays["entropy"], -(policy * np.log(policy)).sum(-1).mean(-1))
    fewer = short_run(leader={"algorithm": "ppo", "updates": 3, "lr": 0.05})
    ((_, short),) = train([fewer])
    np.testing.assert_array_equal(short.arrays["leader_policy"], policy[:3])


def test_with_replay_the_return_is_that_of_the_mixture_of_tables() -> None:
    spec = short_run(commitment="replay")
    ((follower, leader),) = train([spec])
    assert follower is not None
    game = spec.to_game()
    tables = all_tables(game.leader_states, game.rows)
    replies = torch.from_numpy(follower.arrays["follower_logits"]).argmax(-1)
    returns = table_returns(GameBatch.of([game]), tables[None], replies[None])[0, :, LEADER].numpy()
    for policy, value in zip(leader.arrays["leader_policy"], leader.arrays["leader_return"], strict=True):
        chances = policy[np.arange(game.leader_states), tables.numpy()].prod(-1)
        assert value == pytest.approx((chances * returns).sum())


@pytest.mark.parametrize("commitment", ["resample", "replay"])
def test_sampled_evaluation_estimates_the_exact_returns(commitment: str) -> None:
    """Over all updates together 40,000 episodes of a game whose returns lie within some 10 of each other."""
    spec = short_run(commitment=commitment, evaluation_episodes=5000)
    ((_, leader),) = train([spec])
    payoffs = np.array(spec.payoffs)
    for player, name in enumerate(("leader", "follower")):
        difference = leader.arrays[f"{name}_return_sampled"] - leader.arrays[f"{name}_return"]
        deviation = 4 * np.ptp(payoffs[..., player]) / 2  # at most, of 4 rounds
        assert abs(difference.mean()) < 4 * deviation / np.sqrt(5000 * 8)
        assert (difference != 0).any()


# --- post-training --------------------------------------------------------------------------------------------------


def test_post_training_starts_from_the_final_pair() -> None:
    """Followers that hardly learn any more stay with what the last leader update was evaluated at."""
    spec = short_run(follower={"oracle": "contextual", "updates": 10, "post_updates": 4, "lr": 1e-12})
    ((_, leader),) = train([spec])
    for name in ("leader_return", "follower_return", "leader_return_greedy", "follower_regret"):
        assert leader.arrays[f"post_{name}"].tolist() == [leader.arrays[name][-1]] * 4
    assert leader.arrays["post_leader_return_sampled"].shape == (4,)


@pytest.mark.parametrize("commitment", ["resample", "replay"])
def test_post_training_undeceives_a_follower(commitment: str) -> None:
    """A follower that answers every leader with the worst it can do learns better against the one it meets."""
    follower = {"oracle": "contextual", "lr": 0.1, "post_updates": 150}
    spec = run_spec(
        "prisoners_dilemma",
        game={"memory": "none"},
        commitment=commitment,
        follower=follower,
        leader={"algorithm": "pg", "updates": 2},
    )
    pretrained = spec.follower_spec()
    assert pretrained is not None
    cooperates = np.zeros((2, 1, 2))
    cooperates[..., 0] = 1
    arrays = only(train_leaders([spec], {pretrained.follower_id: cooperates}))
    regret = arrays["post_follower_regret"]
    assert len(regret) == 150
    assert regret[0] == pytest.approx(arrays["follower_regret"][-1])
    assert regret[0] > 5
    assert regret[-1] == pytest.approx(0, abs=1e-9)


def test_without_post_updates_there_is_no_post_training() -> None:
    ((_, leader),) = train([short_run(follower={"oracle": "contextual", "updates": 2, "post_updates": 0})])
    assert not [name for name in leader.arrays if name.startswith("post_")]


# --- decisions ------------------------------------------------------------------------------------------------------


HAND_MADE = {"memory": "opponent", "rounds": 2, "reward_offset": 0.0}


def hand_made_episodes() -> tuple[GameBatch, LeaderEpisodes]:
    """One run, two episodes of two rounds with memory of the opponent: worlds are 0 or 1 + a + 2·b."""
    game = GameBatch.of([run_spec(game=HAND_MADE).to_game()])
    answers = torch.tensor([[[0, 1, 1], [1, 0, 0]]])
    # Episode 1 plays (1, 0), then (0, 1); episode 2 plays (0, 1), then (1, 1).
    return game, LeaderEpisodes(answers, Rounds.of(game, torch.tensor([[[0, 2, 3], [0, 3, 4]]])))


def test_with_replay_only_the_query_answers_are_decisions() -> None:
    batch = leader_batch(*hand_made_episodes(), run_spec(game=HAND_MADE, commitment="replay"))
    assert batch.state.tolist() == [[[0, 1, 2], [0, 1, 2]]]
    assert batch.action.tolist() == [[[0, 1, 1], [1, 0, 0]]]
    assert batch.return_to_go.tolist() == [[[5.0, 5.0, 5.0], [3.0, 3.0, 3.0]]]


def test_when_resampled_play_is_decided_too() -> None:
    """The second round shows the leader the follower's first action: 0 (state 1), then 1 (state 2)."""
    batch = leader_batch(*hand_made_episodes(), run_spec(game=HAND_MADE))
    assert batch.state.tolist() == [[[0, 1, 2, 0, 1], [0, 1, 2, 0, 2]]]
    assert batch.action.tolist() == [[[0, 1, 1, 1, 0], [1, 0, 0, 0, 1]]]
    assert batch.return_to_go.tolist() == [[[5.0, 5.0, 5.0, 5.0, 1.0], [3.0, 3.0, 3.0, 3.0, 2.0]]]


def test_hidden_queries_are_not_learned_from() -> None:
    batch = leader_batch(*hand_made_episodes(), run_spec(game=HAND_MADE, hidden_queries=True))
    assert batch.state.tolist() == [[[0, 1], [0, 2]]]
    assert batch.action.tolist() == [[[1, 0], [0, 1]]]
    assert batch.return_to_go.tolist() == [[[5.0, 1.0], [3.0, 2.0]]]


def test_a_query_bit_gives_queries_states_of_their_own() -> None:
    batch = leader_batch(*hand_made_episodes(), run_spec(game=HAND_MADE, query_bit=True))
    assert batch.state.tolist() == [[[3, 4, 5, 0, 1], [3, 4, 5, 0, 2]]]
    assert batch.reward.tolist() == [[[0.0, 0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 0.0, 1.0, 2.0]]]
    assert batch.return_to_go[0, 0].tolist() == [5.0, 5.0, 5.0, 5.0, 1.0]


@pytest.mark.parametrize(("episodes", "replies"), [(1, 2), (2, 0)])
def test_a_carried_table_is_judged_as_the_batch_left_it(episodes: int, replies: int) -> None:
    """One action after another disappoints, one a game; the game of the evaluation comes after those of the batch."""
    oracle = {"oracle": "tabular_q", "games": 1, "alpha": 1.0, "epsilon": 0.0, "init": "zeros", "reset": False}
    game = {"memory": "none", "rounds": 1, "reward_offset": 0.0}
    pays = (-1.0, -2.0, -3.0)
    spec = run_spec("worse", (tuple((0.0, pay) for pay in pays),), game=game, follower=oracle)
    assert isinstance(spec.follower, TabularQSettings)
    followers, leader = LearningFollowers([spec], spec.follower), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    followers.play(leader, episodes)
    assert followers.curves(leader)["follower_return"].item() == pays[replies]


REPEATED = """
import resource, sys
import numpy as np
from stackpop.training.packs import timed
if sys.argv[1] == "kept":
    timed(lambda pack: [], ["a run"], "cpu")
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        held = [np.ones(100_000) for _ in range(10)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library does as it likes")
def test_memory_that_is_freed_is_not_taken_from_the_system_again() -> None:
    """Fifty times eight megabytes, of which each 4 kB would be a fault."""
    found = {}
    # Of other tests' Dask, which sets how much memory the processes keep that it starts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    for name in ("kept", "lost"):
        command = [sys.executable, "-c", REPEATED, name]
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found[name] = int(run.stdout)
    assert found["kept"] < 10_000 < found["lost"], found
