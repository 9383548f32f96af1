"""The tabular-Q follower beside a loop over one episode at a time, written from EXPERIMENTS.md section 4."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from slow_play import MEMORIES, observed, random_game, random_policies, random_uniforms, sampled
from stackpop.equilibria import best_responses
from stackpop.games import FOLLOWER, LEADER, MATRICES, Game, GameBatch, Memory, all_tables, table_returns
from stackpop.learners import Phase, Streams
from stackpop.learners.tabular_q import (
    Draws,
    LearningEpisodes,
    TabularQFollower,
    TabularQSettings,
    fresh_tables,
    learn_and_play,
)
from tabular_q_variants import VARIANTS

SHAPES = [(2, 2), (3, 2), (2, 3)]

each_shape = pytest.mark.parametrize("shape", SHAPES)
each_memory = pytest.mark.parametrize("memory", MEMORIES)
each_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)


@dataclass
class SlowEpisode:
    """One leader episode, by step; both players' rewards of the paid game apart."""

    states: list[int]
    actions: list[int]
    rewards: list[float]
    played: list[tuple[float, float]]


def slow_episode(
    game: Game, settings: TabularQSettings, leader: list[list[float]], table: list[list[float]], draws: Draws, env: int
) -> SlowEpisode:
    """Play one episode and update the table in place; draws of one run."""
    episode = SlowEpisode([], [], [], [])
    for number in range(settings.games + 1):
        learning, last = number < settings.games, None
        for t in range(game.rounds):
            step = number * game.rounds + t
            mine = observed(game, last, FOLLOWER)
            values = list(table[mine])
            if learning and settings.exploration == "parameter_noise":
                noise = draws.exploration[env, number, mine].tolist()
                values = [q + settings.noise_sd * n for q, n in zip(values, noise, strict=True)]
            b = values.index(max(values))
            if learning and settings.exploration == "epsilon_greedy":
                u, epsilon = float(draws.exploration[env, step]), settings.explore_chance
                b = min(int(u / epsilon * game.columns), game.columns - 1) if u < epsilon else b
            theirs = observed(game, last, LEADER)
            a = sampled(leader[theirs], float(draws.leader[env, step]))
            last = a, b
            to_leader, to_follower = (payoff + game.reward_offset for payoff in game.payoffs[a][b])
            episode.states.append(theirs)
            episode.actions.append(a)
            episode.rewards.append(to_leader if settings.paid or not learning else 0.0)
            if learning:
                then = max(table[observed(game, last, FOLLOWER)])
                target = to_follower + settings.gamma * then if t < game.rounds - 1 else to_follower
                table[mine][b] += settings.alpha * (target - table[mine][b])
            else:
                episode.played.append((to_leader, to_follower))
    return episode


def uniforms_for(generator: torch.Generator, batch: GameBatch, settings: TabularQSettings, envs: int) -> Tensor:
    return random_uniforms(generator, batch.runs, envs, TabularQFollower(batch, settings).numbers)


def one_run(draws: Draws, run: int) -> Draws:
    return Draws(draws.leader[run], draws.exploration[run], draws.init[run])


def of_leader(game: Game, worlds: Tensor, outcomes: Tensor) -> tuple[list[int], list[int]]:
    """The leader's states and actions."""
    return GameBatch.of([game]).leader_observation[worlds].tolist(), (outcomes % game.rows).tolist()


def check_against_slow(
    games: list[Game], settings: TabularQSettings, leader: Tensor, tables: Tensor, draws: Draws
) -> None:
    """Equal to the last bit: what is played, what is paid, and what is learned."""
    episodes = learn_and_play(GameBatch.of(games), settings, leader, tables, draws)
    for run, game in enumerate(games):
        table = tables[run, 0].tolist()
        for env in range(draws.leader.shape[1]):
            if settings.reset:
                table = tables[run, env].tolist()
            policy = leader[run, min(env, leader.shape[1] - 1)].tolist()
            slow = slow_episode(game, settings, policy, table, one_run(draws, run), env)
            assert episodes.state[run, env].tolist() == slow.states
            assert episodes.action[run, env].tolist() == slow.actions
            assert episodes.reward[run, env].tolist() == slow.rewards
            rounds = episodes.rounds
            paid_game = rounds.worlds[run, env], rounds.outcomes[run, env]
            assert of_leader(game, *paid_game) == (slow.states[-game.rounds :], slow.actions[-game.rounds :])
            rewards = rounds.leader_rewards[run, env], rounds.follower_rewards[run, env]
            assert list(zip(*(r.tolist() for r in rewards), strict=True)) == slow.played
            assert episodes.tables[run, env].tolist() == table


@each_variant
@each_memory
@each_shape
def test_episodes_are_those_of_the_slow_loop(
    shape: tuple[int, int], memory: Memory, settings: TabularQSettings
) -> None:
    generator = torch.Generator().manual_seed(1)
    games = [random_game(generator, *shape, memory, rounds=4, offset=0.1) for _ in range(2)]
    batch = GameBatch.of(games)
    draws = Draws.of(batch, settings, uniforms_for(generator, batch, settings, 3))
    for envs in (1, 3):
        leader = random_policies(generator, 2, envs, batch.leader_states, batch.rows)
        check_against_slow(games, settings, leader, fresh_tables(batch, settings, draws), draws)


@hypothesis_settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    memory=st.sampled_from(MEMORIES),
    rounds=st.integers(1, 4),
    settings=st.builds(
        TabularQSettings,
        games=st.integers(1, 4),
        alpha=st.floats(0.01, 1),
        gamma=st.floats(0, 1),
        init=st.sampled_from(["normal", "zeros"]),
        exploration=st.sampled_from(["epsilon_greedy", "parameter_noise"]),
        epsilon=st.none() | st.floats(0, 1),
        noise=st.none() | st.floats(0, 2),
        reset=st.booleans(),
        paid=st.booleans(),
    ),
)
def test_any_game_and_settings_are_those_of_the_slow_loop(
    seed: int, shape: tuple[int, int], memory: Memory, rounds: int, settings: TabularQSettings
) -> None:
    generator = torch.Generator().manual_seed(seed)
    games = [random_game(generator, *shape, memory, rounds) for _ in range(2)]
    batch = GameBatch.of(games)
    draws = Draws.of(batch, settings, uniforms_for(generator, batch, settings, 2))
    leader = random_policies(generator, 2, 1, batch.leader_states, batch.rows)
    check_against_slow(games, settings, leader, fresh_tables(batch, settings, draws), draws)


def parts(episodes: LearningEpisodes) -> list[Tensor]:
    rounds = episodes.rounds
    played = [rounds.worlds, rounds.outcomes, rounds.leader_rewards, rounds.follower_rewards]
    return [episodes.state, episodes.action, episodes.reward, *played, episodes.tables]


@each_variant
@each_memory
def test_rows_never_mix(memory: Memory, settings: TabularQSettings) -> None:
    """Unlike games, leaders and seeds give the same bits alone and in packs, over two batches."""
    generator = torch.Generator().manual_seed(2)
    games = [random_game(generator, 3, 2, memory, rounds=3, offset=0.1 * run) for run in range(19)]
    leader = random_policies(generator, 19, 1, GameBatch.of(games).leader_states, 3)

    def play(first: int, last: int) -> list[Tensor]:
        batch = GameBatch.of(games[first:last])
        follower = TabularQFollower(batch, settings)
        streams = Streams([run // 2 for run in range(first, last)], Phase.TABULAR_Q)
        batches = [follower.play(leader[first:last], streams.uniform(3, follower.numbers)) for _ in range(2)]
        return [part for episodes in batches for part in parts(episodes)]

    alone = [play(run, run + 1) for run in range(19)]
    for first, last in ((0, 2), (3, 10), (0, 19)):
        for packed, single in zip(play(first, last), zip(*alone[first:last], strict=True), strict=True):
            assert torch.equal(packed, torch.cat(single))


@pytest.mark.parametrize("memory", MEMORIES)
def test_tables_are_carried_on_from_batch_to_batch(memory: Memory) -> None:
    """Two batches of three episodes are one of six."""
    generator = torch.Generator().manual_seed(3)
    settings = TabularQSettings(games=2, reset=False)
    batch = GameBatch.of([random_game(generator, 2, 3, memory, rounds=3) for _ in range(2)])
    leader = random_policies(generator, 2, 1, batch.leader_states, 2)
    uniforms = uniforms_for(generator, batch, settings, 6)
    whole = TabularQFollower(batch, settings).play(leader, uniforms)
    follower = TabularQFollower(batch, settings)
    halves = [follower.play(leader, half) for half in uniforms.split(3, 1)]
    for expected, *found in zip(parts(whole), *map(parts, halves), strict=True):
        assert torch.equal(expected, torch.cat(found, 1))
    resumed = TabularQFollower(batch, settings, halves[0].tables[:, -1:]).play(leader, uniforms[:, 3:])
    assert torch.equal(resumed.tables, halves[1].tables)


def test_a_reset_follower_forgets() -> None:
    generator = torch.Generator().manual_seed(4)
    settings = TabularQSettings(games=3)
    batch = GameBatch.of([random_game(generator, 2, 2, "joint", rounds=3)])
    leader = random_policies(generator, 1, 1, batch.leader_states, 2)
    first, second = (uniforms_for(generator, batch, settings, 4) for _ in range(2))
    follower = TabularQFollower(batch, settings)
    follower.play(leader, first)
    expected = TabularQFollower(batch, settings).play(leader, second)
    assert torch.equal(follower.play(leader, second).tables, expected.tables)


def test_the_callers_tables_are_kept_as_they_are() -> None:
    generator = torch.Generator().manual_seed(5)
    batch = GameBatch.of([random_game(generator, 2, 2, "joint", rounds=3)])
    leader = random_policies(generator, 1, 1, batch.leader_states, 2)
    for reset in (True, False):
        settings = TabularQSettings(games=3, reset=reset)
        draws = Draws.of(batch, settings, uniforms_for(generator, batch, settings, 1))
        tables = fresh_tables(batch, settings, draws)
        before = tables.clone()
        learned = learn_and_play(batch, settings, leader, tables, draws).tables
        assert torch.equal(tables, before)
        assert not torch.equal(learned, before)


def test_the_end_of_a_game_is_worth_the_reward_alone() -> None:
    """alpha = 1 and one learning game: the last state's entry is its payoff, the one before adds gamma times its best.

    One action each, so the states are the start and what follows: q = (1 + 0.5 · 0, 1 + 0.5 · q) by hand.
    """
    game = GameBatch.of([Game((((0.0, 1.0),),), "joint", rounds=2, reward_offset=0.0)])
    settings = TabularQSettings(games=1, alpha=1.0, gamma=0.5, init="zeros")
    follower = TabularQFollower(game, settings)
    leader = torch.ones(1, 1, 2, 1, dtype=torch.float64)
    uniforms = torch.full((1, 1, follower.numbers), 0.5, dtype=torch.float64)
    assert follower.play(leader, uniforms).tables.tolist() == [[[[1.0], [1.0]]]]
    again = TabularQFollower(game, settings.model_copy(update={"games": 2}))
    uniforms = torch.full((1, 1, again.numbers), 0.5, dtype=torch.float64)
    assert again.play(leader, uniforms).tables.tolist() == [[[[1.5], [1.0]]]]


@pytest.mark.parametrize("paid", [False, True])
def test_the_leader_is_paid_for_learning_games_only_if_the_settings_say_so(paid: bool) -> None:
    game = GameBatch.of([Game(MATRICES["prisoners_dilemma"], "joint", rounds=3)])  # no payoff is 0
    follower = TabularQFollower(game, TabularQSettings(games=4, paid=paid))
    leader = torch.full((1, 1, 5, 2), 0.5, dtype=torch.float64)
    reward = follower.play(leader, Streams([1], Phase.TABULAR_Q).uniform(6, follower.numbers)).reward
    assert reward.shape == (1, 6, (4 + 1) * 3)
    assert (reward[..., :-3] != 0).all() == paid
    assert (reward[..., :-3] == 0).any() != paid
    assert (reward[..., -3:] != 0).all()


@pytest.mark.parametrize("variant", ["epsilon_greedy", "parameter_noise", "carried"])
@each_shape
def test_long_learning_finds_the_best_response_in_a_one_shot_game(shape: tuple[int, int], variant: str) -> None:
    """To every deterministic leader, as the exact solver has it."""
    generator = torch.Generator().manual_seed(6)
    games = [random_game(generator, *shape, "none", rounds=1) for _ in range(8)]
    batch = GameBatch.of(games)
    # Explore enough to try every action often: noise as wide as the payoffs, or every other action random.
    wide = {"noise": 5.0} if variant == "parameter_noise" else {"epsilon": 0.5}
    settings = VARIANTS[variant].model_copy(update={"games": 400, **wide})
    follower = TabularQFollower(batch, settings)
    for row in range(batch.rows):
        leader = torch.nn.functional.one_hot(torch.tensor(row), batch.rows).double().expand(8, 1, 1, -1)
        streams = Streams(range(8), Phase.TABULAR_Q)
        paid = follower.play(leader, streams.uniform(2, follower.numbers)).rounds
        for run, game in enumerate(games):
            best = float(best_responses(game).follower_return[row])
            assert paid.follower_rewards[run].flatten().tolist() == [best, best]


def test_long_learning_finds_a_best_response_in_a_repeated_game() -> None:
    """Tit for tat: cooperation pays, which only an update with the next state's value can find out."""
    game = Game(MATRICES["prisoners_dilemma"], "joint", rounds=10)
    batch = GameBatch.of([game])
    tit_for_tat = torch.tensor([[0, 0, 0, 1, 1]])
    number = int((all_tables(5, 2) == tit_for_tat).all(-1).nonzero())
    best = float(best_responses(game).follower_return[number])
    follower = TabularQFollower(batch, TabularQSettings(games=2000))
    leader = torch.nn.functional.one_hot(tit_for_tat, 2).double()[:, None]
    episodes = follower.play(leader, Streams([1], Phase.TABULAR_Q).uniform(5, follower.numbers))
    replies = episodes.tables[0].argmax(-1)
    returns = table_returns(batch, tit_for_tat[:, None], replies[None])[0, :, FOLLOWER]
    assert torch.equal(returns, episodes.rounds.follower_rewards[0].sum(-1))
    assert returns.tolist() == pytest.approx([best] * 5)


@pytest.mark.parametrize("variant", ["epsilon_greedy", "parameter_noise"])
def test_payoffs_that_overflow_raise_nothing(variant: str) -> None:
    """They are reported with the run, from the curves that are not finite; warnings are errors here."""
    game = GameBatch.of([Game((((1e308, -1e308), (1e308, 1e308)),) * 2, "joint", rounds=4)])
    settings = VARIANTS[variant].model_copy(update={"gamma": 1.0, "alpha": 1.0})
    follower = TabularQFollower(game, settings)
    leader = torch.full((1, 1, 5, 2), 0.5, dtype=torch.float64)
    tables = follower.play(leader, Streams([1], Phase.TABULAR_Q).uniform(4, follower.numbers)).tables
    assert not tables.isfinite().all()
