"""The Gymnasium environment beside the batched play, step by step, and against Gymnasium's own contract."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from slow_play import MEMORIES, random_game, random_policies, random_uniforms
from stackpop.equilibria import best_responses
from stackpop.errors import SpecError
from stackpop.games import Game, GameBatch, Memory, all_tables, named_payoffs, table_index
from stackpop.games.environment import ENV_ID, LeaderEnv, make_leader
from stackpop.games.play import play_leader, sample_actions

ALWAYS_0 = [[0, 0, 0]] * 8  # replies to a 2x2 leader that remembers the opponent
TIT_FOR_TAT = (1, 0, 0, 1, 1)  # after defecting once


def exact_replies(game: Game) -> Tensor:
    return all_tables(game.follower_states, game.columns)[torch.from_numpy(best_responses(game).response)]


def steps(
    env: gymnasium.Env[Any, Any], policy: Tensor, uniforms: Tensor
) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Play one episode, the action of each step drawn with that step's uniform: (action, reward, info) a step."""
    observation, info = env.reset()
    assert info == {}
    for u in uniforms:
        action = int(sample_actions(policy[observation], u))
        observation, reward, terminated, truncated, info = env.step(action)
        yield action, float(reward), info
        assert not truncated
        if terminated:
            return
    pytest.fail("the episode should be over")


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 3)])
class TestSideBySide:
    """The environment and `play_leader`, on the same uniforms, in three unlike runs: rows that mix would show."""

    RUNS, ENVS, ROUNDS = 3, 4, 6

    def both(self, shape: tuple[int, int], memory: Memory, *, replay: bool) -> Iterator[tuple[Any, ...]]:
        """For each episode the batched one, as a dict of lists, and the environment's steps."""
        generator = torch.Generator().manual_seed(11)
        games = [random_game(generator, *shape, memory, self.ROUNDS) for _ in range(self.RUNS)]
        batch = GameBatch.of(games)
        contexts = (self.RUNS, games[0].leader_tables, batch.follower_states)
        policy = random_policies(generator, self.RUNS, batch.leader_states, batch.rows)
        replies = torch.randint(batch.columns, contexts, generator=generator)
        uniforms = random_uniforms(generator, self.RUNS, self.ENVS, games[0].episode_steps)
        batched = play_leader(batch, policy[:, None], replies, uniforms, replay=replay)
        for run, game in enumerate(games):
            env = LeaderEnv(game, replies[run], replay=replay)
            for e in range(self.ENVS):
                rounds, answers = batched.rounds, batched.answers[run, e]
                expected = {
                    "answers": answers.tolist(),
                    "context": int(table_index(answers, game.rows)),
                    "worlds": rounds.worlds[run, e].tolist(),
                    "leader_actions": (rounds.outcomes[run, e] % game.rows).tolist(),
                    "follower_actions": (rounds.outcomes[run, e] // game.rows).tolist(),
                    "leader_rewards": rounds.leader_rewards[run, e].tolist(),
                    "follower_rewards": rounds.follower_rewards[run, e].tolist(),
                }
                yield game, expected, list(steps(env, policy[run], uniforms[run, e]))

    def test_resample(self, shape: tuple[int, int], memory: Memory) -> None:
        for game, expected, played in self.both(shape, memory, replay=False):
            queries, rounds = played[: game.leader_states], played[game.leader_states :]
            assert len(rounds) == game.rounds
            assert [action for action, _, _ in queries] == expected["answers"]
            assert [(reward, info) for _, reward, info in queries[:-1]] == [(0.0, {})] * (len(queries) - 1)
            assert queries[-1][1:] == (0.0, {"context": expected["context"]})
            assert [action for action, _, _ in rounds] == expected["leader_actions"]
            assert [reward for _, reward, _ in rounds] == expected["leader_rewards"]
            for name in ("worlds", "leader_actions", "follower_actions"):
                assert [info[name].tolist() for _, _, info in rounds] == [[x] for x in expected[name]]
            assert {info["context"] for _, _, info in rounds} == {expected["context"]}
            so_far = np.cumsum(expected["follower_rewards"]).tolist()
            assert [info["follower_return"] for _, _, info in rounds] == so_far

    def test_replay(self, shape: tuple[int, int], memory: Memory) -> None:
        for game, expected, played in self.both(shape, memory, replay=True):
            assert len(played) == game.leader_states
            assert [action for action, _, _ in played] == expected["answers"]
            assert [(reward, info) for _, reward, info in played[:-1]] == [(0.0, {})] * (len(played) - 1)
            _, reward, info = played[-1]
            assert reward == sum(expected["leader_rewards"])
            assert info["follower_return"] == sum(expected["follower_rewards"])
            assert info["context"] == expected["context"]
            for name in ("worlds", "leader_actions", "follower_actions"):
                assert info[name].tolist() == expected[name]


@pytest.mark.parametrize("replay", [False, True])
def test_the_equilibrium_table_earns_six_in_the_dilemma(replay: bool) -> None:
    """EXPERIMENTS.md section 6, through the registered id."""
    replies = exact_replies(Game(named_payoffs("prisoners_dilemma")))
    env_id = f"stackpop.games.environment:{ENV_ID}"
    env = gymnasium.make(env_id, payoffs="prisoners_dilemma", replies=replies, replay=replay)
    observation, _ = env.reset()
    seen, rewards, over = [observation], [], False
    while not over:
        observation, reward, over, _, info = env.step(TIT_FOR_TAT[observation])
        seen.append(observation)
        rewards.append(float(reward))
    assert sum(rewards) == 6.0
    assert info["context"] == 0b10011
    # The queries in order; then the start, (1, 0) remembered as 2, and (0, 0) as 1.
    assert seen == [0, 1, 2, 3, 4, *([1] if replay else [0, 2, *[1] * 9])]
    assert rewards == [0] * 4 + ([6.0] if replay else [0, 1.5, *[0.5] * 9])


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("payoffs", ["chicken", "1,2 3,4 / 5,6 7,8", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])
def test_the_registered_environment_has_the_promised_spaces(payoffs: object, replay: bool) -> None:
    env = gymnasium.make(ENV_ID, payoffs=payoffs, replies=ALWAYS_0, memory="opponent", rounds=3, replay=replay)
    assert env.observation_space == gymnasium.spaces.Discrete(3)
    assert env.action_space == gymnasium.spaces.Discrete(2)
    assert env.spec is not None
    assert json.loads(env.spec.to_json())["kwargs"]["replies"] == ALWAYS_0


def test_the_offset_is_paid_in_every_round_and_in_no_query() -> None:
    def leader_return(offset: float) -> float:
        env = make_leader("chicken", ALWAYS_0, memory="opponent", rounds=4, reward_offset=offset)
        env.reset()
        return sum(float(env.step(np.int64(1))[1]) for _ in range(3 + 4))

    assert leader_return(0) == 4 * 4
    assert leader_return(-2.5) == 4 * 1.5


def test_gymnasium_can_play_many_at_once() -> None:
    envs = gymnasium.make_vec(ENV_ID, num_envs=3, payoffs="chicken", replies=ALWAYS_0, memory="opponent", rounds=2)
    envs.reset(seed=1)
    for _ in range(3):
        envs.step(np.array([0, 1, 0]))
    _, rewards, over, _, info = envs.step(np.array([0, 1, 1]))
    assert rewards.tolist() == [0.5, 1.5, 1.5]  # 3, 4 and 4 against column 0
    assert info["context"].tolist() == [0, 7, 0]
    assert not over.any()
    assert envs.step(np.array([0, 0, 0]))[2].all()


def test_a_copy_goes_on_alone_from_where_it_was_made() -> None:
    env = make_leader("chicken", ALWAYS_0, memory="opponent", rounds=2)
    env.reset()
    for action in (0, 0, 0, 1):
        env.step(np.int64(action))
    twin = copy.deepcopy(env)
    last = env.step(np.int64(1))
    assert last[2]
    assert twin.step(np.int64(0))[1] == 0.5
    assert last[4]["follower_return"] == -1.0


def test_the_followers_table_is_copied() -> None:
    replies = np.zeros((8, 3), dtype=np.int64)
    env = make_leader("chicken", replies, memory="opponent", rounds=1)
    replies[:] = 1
    env.reset()
    for _ in range(4):
        info = env.step(np.int64(0))[4]
    assert info["follower_actions"].tolist() == [0]


@pytest.mark.parametrize("replay", [False, True])
def test_steps_outside_an_episode_are_refused(replay: bool) -> None:
    env = make_leader("chicken", ALWAYS_0, memory="opponent", rounds=1, replay=replay)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.int64(0))
    env.reset()
    while not env.step(np.int64(0))[2]:
        pass
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.int64(0))
    assert env.reset() == (np.int64(0), {})


@pytest.mark.parametrize("action", [2, -1, 0.5, "0", None])
def test_an_action_that_is_no_row_is_refused_and_changes_nothing(action: Any) -> None:
    env = make_leader("chicken", ALWAYS_0, memory="opponent", rounds=1)
    env.reset()
    with pytest.raises(SpecError, match=r"^action: expected a whole number from 0 to 1, got"):
        env.step(action)
    assert env.step(np.int64(0))[0] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"payoffs": "chickn"}, r"matrix: .*did you mean 'chicken'"),
        ({"payoffs": [[1, 2]]}, r"payoffs\[0\]\[0\]: expected rows"),
        ({"payoffs": None}, r"payoffs: expected rows"),
        ({"memory": "jont"}, r"memory: expected none, opponent or joint, got 'jont'; did you mean 'joint'\?"),
        ({"rounds": 0}, r"rounds: expected a whole number of at least 1, got 0"),
        ({"rounds": 1.5}, r"rounds: .*got 1\.5"),
        ({"rounds": True}, r"rounds: .*got True"),
        ({"reward_offset": "0"}, r"reward_offset: expected a number, got '0'"),
        ({"reward_offset": float("nan")}, r"reward_offset: expected a finite number"),
        ({"replay": "no"}, r"replay: expected True or False, got 'no'"),
        ({"replies": None}, r"replies: expected whole numbers \[2\^3 contexts, 3 follower states\], got object"),
        ({"replies": ALWAYS_0[1:]}, r"replies: .*got int64 of shape \[7, 3\]"),
        ({"replies": [[0, 0, 0], [0]]}, r"replies: .*got rows of unlike lengths"),
        ({"replies": np.zeros((8, 3))}, r"replies: .*got float64 of shape \[8, 3\]"),
        ({"replies": [[0, 0, 2], *ALWAYS_0[1:]]}, r"replies: expected actions from 0 to 1, got some from 0 to 2"),
        ({"replies": [[0, -1, 0], *ALWAYS_0[1:]]}, r"replies: expected actions from 0 to 1, got some from -1 to 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    arguments = {"payoffs": "chicken", "replies": ALWAYS_0, "memory": "opponent", **wrong}
    with pytest.raises(SpecError, match=f"^{message}"):
        gymnasium.make(ENV_ID, **arguments)


def test_games_can_be_imported_without_gymnasium() -> None:
    script = "import sys, stackpop.games; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
