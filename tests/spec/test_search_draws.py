"""Random candidates: in range, spread evenly, and the same whenever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_search import RANDOM, search
from stackpop.spec import parse_sweep
from stackpop.spec.search import Choices, Range

numbers = st.floats(1e-300, 1e300)
ranges = st.one_of(
    st.builds(lambda a, b, log: Range(min(a, b), max(a, b), log), numbers, numbers, st.booleans()),
    st.builds(lambda a, n, log: Range(a, a + n, log), st.integers(1, 10**6), st.integers(1, 10**6), st.booleans()),
    st.builds(lambda a, n: Range(a, a + n), st.integers(-100, 100), st.integers(1, 100)),
)
choices = st.lists(st.one_of(numbers, st.integers(0, 9)), min_size=1, unique=True).map(lambda c: Choices(tuple(c)))
fractions = st.floats(0, 1, exclude_max=True)


@given(st.one_of(ranges, choices), fractions)
def test_draws_are_in_range_and_survive_the_store(domain: Range | Choices, u: float) -> None:
    value = domain.at(u)
    assert domain.holds(value)
    assert domain.decode(float(value)) == value
    assert type(domain.decode(float(value))) is type(value)


def test_draws_spread_evenly() -> None:
    u = (np.arange(4000) + 0.5) / 4000
    assert np.mean([Range(1e-5, 1.0, log=True).at(x) < 1e-3 for x in u]) == pytest.approx(2 / 5, abs=1e-3)
    assert np.mean([Range(0.0, 8.0).at(x) < 2 for x in u]) == pytest.approx(1 / 4, abs=1e-3)
    for domain in (Range(1, 4), Choices((1, 2, 3, 4))):
        assert np.bincount([int(domain.at(x)) for x in u]).tolist() == [0, 1000, 1000, 1000, 1000]
    whole = [Range(1, 8, log=True).at(x) for x in u]
    assert whole.count(1) > whole.count(2) > whole.count(8)


@given(st.integers(0, 2**63 - 1), st.integers(0, 50), st.integers(0, 50))
@settings(max_examples=30)
def test_random_trial_depends_on_seed_and_number_only(seed: int, trial: int, more: int) -> None:
    two = "{%s: {low: 0.1, high: 1}, %s: {low: 1, high: 9}}"
    names = ["leader.lr", "follower.lr"]
    text = RANDOM.replace("  start: [{leader.lr: 0.5}]\n", "")
    few = search(text, search__seed=seed, search__trials=51, search__space=two % (*names,))
    many = search(text, search__seed=seed, search__trials=51 + more, search__space=two % (*names,))
    assert few.search is not None
    assert many.search is not None
    assert few.search.draw(trial) == many.search.draw(trial)
    other = search(text, search__seed=seed + 1 if seed < 2**62 else 0, search__space=two % (*names,))
    assert other.search is not None
    assert other.search.draw(trial) != few.search.draw(trial)


def test_random_candidates_stay_what_they_were() -> None:
    """They are part of every store: were they to change, an extended search would not be what one go makes."""
    spec = search(RANDOM).search
    assert spec is not None
    found = [spec.draw(trial)["leader.lr"] for trial in range(3)]
    assert found == pytest.approx([0.5, 0.1166192663347014, 0.11807770081841211], rel=1e-12)


spans = st.builds(
    lambda low, more, log: Range(low, low * more, log), st.floats(1e-9, 1e3), st.floats(2, 1e6), st.booleans()
)


@given(st.dictionaries(st.sampled_from(["leader.lr", "leader.clip", "leader.kl_target"]), spans, min_size=1))
@settings(max_examples=30)
def test_search_survives_its_yaml(space: dict[str, Range]) -> None:
    start = {name: (r.low + r.high) / 2 for name, r in space.items()}
    text = {name: {"low": r.low, "high": r.high, "log": r.log} for name, r in space.items()}
    for method in ("random", "tpe"):
        keys = {"method": method, "trials": 3, "space": text, "start": [start]}
        spec = parse_sweep("matrix: hero", "s", {"search": keys})
        again = parse_sweep(spec.to_yaml(), "s")
        assert again == spec
        assert spec.search is not None
        assert spec.search.space == space
        assert spec.search.start == (start,)
