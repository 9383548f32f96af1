"""Games too large for all pairs of tables: what is known of them, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from plain_games import CONITZER_SANDHOLM, raw
from stackpop.equilibria import (
    best_responses,
    ground_truth,
    known_commitment,
    known_truth,
    mixed_commitment,
    pure_commitment,
    resample_commitment,
    walked_commitment,
    walked_responses,
)
from stackpop.errors import SpecError, TooLargeError
from stackpop.games import Game, Memory, all_tables
from support import random_payoffs


@pytest.mark.parametrize("huge", [1e308, math.inf])
def test_payoffs_that_overflow_give_nan(huge: float) -> None:
    truth = ground_truth(Game((((huge, 0), (0, 1)), ((-huge, 1), (1, 0))), "opponent"))
    assert (truth.leader_return_min, truth.leader_return_max) == (-math.inf, math.inf)
    assert sum(map(math.isnan, dataclasses.astuple(truth))) == len(dataclasses.astuple(truth)) - 2


@pytest.mark.parametrize(
    ("rows", "columns", "memory", "rounds"),
    [(2, 2, "joint", 7), (3, 2, "opponent", 6), (2, 3, "opponent", 4), (3, 3, "opponent", 3), (2, 4, "none", 5)],
)
def test_walking_through_episodes_finds_what_all_pairs_of_tables_do(
    rows: int, columns: int, memory: Memory, rounds: int
) -> None:
    payoffs = random_payoffs(1, rows, columns)
    indifferent = tuple(tuple((leader, 0.0) for leader, _ in row) for row in payoffs)
    for game in (Game(payoffs, memory, rounds), Game(indifferent, memory, rounds)):
        best, tables = best_responses(game), all_tables(game.leader_states, game.rows).numpy()
        walked = walked_responses(game, tables)
        for name in ("follower_return", "leader_optimistic", "leader_pessimistic"):
            np.testing.assert_array_equal(getattr(walked, name), getattr(best, name))
        pure = pure_commitment(game, best)
        assert walked_commitment(game) == pure
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stackpop.equilibria.walks.REPLIES_AT_ONCE", 10)
            assert walked_commitment.__wrapped__(game) == pure  # a few leader tables at a time


def test_the_leader_tables_of_a_larger_game_are_not_all_in_memory() -> None:
    """1.6 million of 13 states: as numbers they weigh 166 MB, and as tuples on the way there as much again."""
    game = Game(random_payoffs(1, 3, 4), "joint", 1)
    tracemalloc.start()
    try:
        found = walked_commitment(game)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    one_shot = pure_commitment(Game(game.payoffs, "none", 1))
    assert found.optimistic == one_shot.optimistic
    assert found.leader_table == (*one_shot.leader_table, *[0] * 12)
    assert found.follower_table == (*one_shot.follower_table, *[0] * 12)


def test_a_larger_game_has_a_known_pure_equilibrium() -> None:
    """3x3 with joint memory: follower tables are too many for all pairs, the ways an episode can go are not."""
    dilemma = (((3, 3), (0, 4), (0, 0)), ((4, 0), (1, 1), (0, 0)), ((0, 0), (0, 0), (0.5, 0.5)))
    game = Game(dilemma, "joint", 3, reward_offset=0.0)
    with pytest.raises(TooLargeError):
        ground_truth(game)
    truth = known_truth(game)
    assert truth.pure == truth.pure_pessimistic == 9
    # In so few rounds the third action, a threat, is worth nothing: the dilemma without it pays as much.
    without = Game(tuple(row[:2] for row in dilemma[:2]), "joint", 3, reward_offset=0.0)
    assert pure_commitment(without).optimistic == truth.pure
    assert (truth.leader_return_min, truth.leader_return_max) == (0, 12)
    assert math.isnan(truth.resample)
    assert math.isnan(truth.behavioural)
    found = known_commitment(game)
    assert (found.optimistic, found.pessimistic) == (9, 9)
    assert repr(known_truth(raw("chicken"))) == repr(ground_truth(raw("chicken")))
    assert known_commitment(raw("chicken")) == pure_commitment(raw("chicken"))


@pytest.mark.parametrize("actions", [4, 200])
def test_a_game_too_large_to_walk_through_is_left_unknown_at_once(actions: int) -> None:
    game = Game((((0.0, 1.0),) * actions,) * actions, "joint")
    started = time.perf_counter()
    truth = known_truth(game)
    assert time.perf_counter() - started < 1
    assert math.isnan(truth.pure)
    assert truth.leader_return_max == -25
    with pytest.raises(TooLargeError, match=r"walk through, got about 10\^.* ways that an episode can go"):
        known_commitment(game)


@pytest.mark.parametrize(("memory", "rounds"), [("none", 2), ("joint", 1)])
def test_mixed_commitment_is_for_one_shot_games(memory: Memory, rounds: int) -> None:
    with pytest.raises(SpecError, match=f"expected one round and memory 'none', got {rounds} rounds"):
        mixed_commitment(Game(CONITZER_SANDHOLM, memory, rounds))


@pytest.mark.parametrize("solve", [best_responses, pure_commitment, resample_commitment, ground_truth])
@pytest.mark.parametrize("actions", [3, 200])
def test_a_game_too_large_is_refused_at_once(solve: Callable[[Game], object], actions: int) -> None:
    game = Game((((0.0, 0.0),) * actions,) * actions, "joint")
    started = time.perf_counter()
    with pytest.raises(TooLargeError) as refused:
        solve(game)
    assert time.perf_counter() - started < 1
    shape, tables = f"{actions}x{actions}", f"{actions}^{1 + actions**2} leader tables"
    assert all(part in str(refused.value) for part in (shape, "'joint'", tables, "smaller memory"))


def test_a_search_too_large_is_refused_while_the_pure_optimum_is_found() -> None:
    game = Game((((0.0, 0.0),) * 40,) * 40, "none", rounds=1, reward_offset=0.0)
    assert pure_commitment(game).optimistic == mixed_commitment(game).value == 0
    with pytest.raises(TooLargeError, match=r"40x40 game .* pure commitment only"):
        resample_commitment(game)
    truth = ground_truth(game)
    assert math.isnan(truth.resample)
    assert truth.pure == truth.mixed == truth.behavioural == 0
