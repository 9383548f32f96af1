"""Specs survive being written and read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stackpop.games import MATRICES
from stackpop.learners.contextual import ContextualSettings
from stackpop.learners.exact import ExactSettings
from stackpop.learners.pg import PGSettings
from stackpop.learners.ppo import PPOSettings
from stackpop.spec import FollowerSpec, GameSettings, RunSpec, parse_sweep
from stackpop.spec.claims import CURVES
from stackpop.spec.document import dump

numbers = st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)
rates = st.floats(1e-12, 1e3)
counts = st.integers(1, 10**9)
words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,12}", fullmatch=True)
payoffs = st.tuples(st.integers(1, 2), st.integers(1, 2)).flatmap(
    lambda n: st.lists(
        st.lists(st.tuples(numbers, numbers), min_size=n[1], max_size=n[1]), min_size=n[0], max_size=n[0]
    )
)
games = st.builds(
    GameSettings, memory=st.sampled_from(["none", "opponent", "joint"]), rounds=counts, reward_offset=numbers
)
leaders = st.builds(PGSettings, lr=rates, updates=counts) | st.builds(
    PPOSettings, lr=rates, value_clip=rates | st.none()
)
followers = st.builds(ContextualSettings, lr=rates, early_stop=st.booleans()) | st.just(ExactSettings())
runs = st.builds(
    RunSpec,
    matrix=words,
    payoffs=payoffs,
    game=games,
    commitment=st.sampled_from(["resample", "replay"]),
    leader=leaders,
    follower=followers,
    evaluation_episodes=counts,
    seed=st.integers(0, 2**63 - 1),
)


@settings(max_examples=60)
@given(runs)
def test_runs_and_followers_survive_json_and_yaml(run: RunSpec) -> None:
    for copy in (RunSpec.model_validate_json(run.model_dump_json()), RunSpec.from_yaml(run.to_yaml())):
        assert copy == run
        assert copy.run_id == run.run_id
    if follower := run.follower_spec():
        assert FollowerSpec.from_yaml(follower.to_yaml()) == follower
        assert FollowerSpec.model_validate_json(follower.model_dump_json()).follower_id == follower.follower_id


@st.composite
def claims(draw: st.DrawFn, axes: dict[str, list[object]]) -> dict[str, object]:
    """A claim about a sweep with these axes."""

    def side(of: list[str]) -> dict[str, object]:
        at = draw(st.sampled_from(["end", "last", "first", 7]))
        return {"variable": draw(st.sampled_from(CURVES)), "at": at, **{a: draw(st.sampled_from(axes[a])) for a in of}}

    shared = draw(st.lists(st.sampled_from(sorted(axes)), unique=True)) if axes else []
    own = [axis for axis in axes if axis not in shared]
    return {
        "text": draw(st.text(min_size=1).filter(str.strip)),
        "left": side(own),
        "relation": draw(st.sampled_from(["greater", "less", "equal", "at_least", "at_most"])),
        "right": draw(numbers | st.builds(side, st.just(own[:1]))),
        "where": {a: draw(st.lists(st.sampled_from(axes[a]), min_size=1, unique=True)) for a in shared},
    }


@st.composite
def sweep_texts(draw: st.DrawFn) -> str:
    """Sweep files with some settings, some axes, and games of their own."""

    def axis(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=1, max_size=4, unique=True))

    own = draw(st.dictionaries(words.filter(lambda word: word not in MATRICES), payoffs, min_size=1, max_size=3))
    possible = {
        "matrix": axis(st.sampled_from([*own, *MATRICES])),
        "seed": axis(st.integers(0, 2**63 - 1)),
        "leader.lr": axis(rates),
        "game.reward_offset": axis(numbers),
        "game.memory": axis(st.sampled_from(["none", "opponent", "joint"])),
        "leader.algorithm": axis(st.sampled_from(["pg", "ppo"])),
        "follower.early_stop": axis(st.booleans()),
    }
    axes = draw(st.lists(st.sampled_from(list(possible)), unique=True))
    content: dict[str, object] = {"description": draw(st.text(max_size=40)), "payoffs": own}
    if "matrix" not in axes:
        content["matrix"] = possible["matrix"][0]
    if "leader.lr" not in axes:
        content["leader"] = {"lr": draw(rates)}
    if draw(st.booleans()):
        content["claims"] = [draw(claims({axis: possible[axis] for axis in axes})) for _ in range(2)]
    return dump(content | {"axes": {axis: possible[axis] for axis in axes}})


@settings(max_examples=60)
@given(sweep_texts())
def test_sweeps_survive_yaml(text: str) -> None:
    sweep = parse_sweep(text, "s")
    copy = parse_sweep(sweep.to_yaml(), "another name")
    assert copy == sweep
    assert copy.text == sweep.text
    last = tuple(length - 1 for length in sweep.shape)
    assert copy.run(last).run_id == sweep.run(last).run_id
