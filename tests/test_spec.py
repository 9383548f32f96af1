"""The sweep file: what it means, what each mistake in it says, and that specs survive being written and read."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpop.errors import SpecError
from stackpop.games import CANONICAL, MATRICES, Game
from stackpop.learners.contextual import ContextualSettings
from stackpop.learners.exact import ExactSettings
from stackpop.learners.pg import PGSettings
from stackpop.learners.ppo import PPOSettings
from stackpop.spec import Claim, FollowerSpec, GameSettings, Quantity, RunSpec, SweepSpec, load_sweep, parse_sweep
from stackpop.spec.claims import CURVES, SINGLES
from stackpop.spec.document import dump
from stackpop.store.schema import GROUND_TRUTH, LEADER_VARIABLES, RUN_VARIABLES

SWEEPS = Path(__file__).parents[1] / "sweeps"
FOUR_BY_FOUR = [[[1, 2]] * 4] * 4
THREE_BY_THREE = "[[[1, 2], [1, 2], [1, 2]], [[1, 2], [1, 2], [1, 2]], [[1, 2], [1, 2], [1, 2]]]"


def hero(**changes: object) -> RunSpec:
    return RunSpec.model_validate({"matrix": "hero", "payoffs": MATRICES["hero"], **changes})


def problem(text: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        parse_sweep(text, "file", overrides, source="f.yaml")
    return str(caught.value)


# Each mistake: the text, the place of the mistake, and what the one line says after it.
MISTAKES = {
    "unknown top-level key": ("matrix: hero\nleadr: {}", "2:1", "leadr: expected a key of a sweep", "'leader'?"),
    "unknown key": ("matrix: hero\nleader: {updats: 3}", "2:10", "leader.updats: expected a setting", "'updates'?"),
    "wrong type": (
        "matrix: hero\nleader:\n  lr: fast", "3:7", "leader.lr: expected a number, got 'fast'", "default is",
    ),
    "no whole number": ("matrix: hero\ngame: {rounds: 1.5}", "2:16", "game.rounds: expected a whole number", "10"),
    "true for a number": ("matrix: hero\nseed: true", "2:7", "seed: expected a whole number, got true", "default is 1"),
    "no is a word": ("matrix: hero\nfollower: {early_stop: no}", "2:24", "expected true or false, got 'no'", "true"),
    "number as text": ('matrix: hero\nleader: {lr: "0.008"}', "2:14", "a number, got '0.008'", "without quotes"),
    "text in an axis": (
        "matrix: hero\naxes: {leader.lr: [1, '2']}", "2:23", "leader.lr[1]: expected a number", "quotes",
    ),
    "section for a number": ("matrix: hero\nseed: {a: 1}", "2:7", "seed: expected a whole number", "default is 1"),
    "number for a section": ("matrix: hero\ngame: 10", "2:7", "game: expected a section of settings", "key: value"),
    "nothing for a section": (
        "matrix: hero\ngame:", "2:6", "game: expected a section of settings, got nothing", "leave it",
    ),
    "query bit without queries": (
        "matrix: hero\nquery_bit: true\nfollower: {oracle: tabular_q}", "2:12",
        "query_bit: expected something else with follower.oracle 'tabular_q', got true: tabular_q asks no queries",
        "contextual oracle",
    ),
    "replay without queries": (
        "matrix: hero\ncommitment: replay\nfollower: {oracle: tabular_q}", "2:13", "commitment: expected",
        "leave it out",
    ),
    "hidden queries under replay": (
        "matrix: hero\ncommitment: replay\nhidden_queries: true", "3:17", "with commitment 'replay'", "one of the two",
    ),
    "query bit under replay, along axes": (
        "matrix: hero\naxes: {commitment: [resample, replay], query_bit: [false, true]}", "2:59",
        "query_bit[1]: expected something else with commitment 'replay'", "one of the two",
    ),
    "hidden queries for evolution strategies": (
        "matrix: hero\nhidden_queries: true\nleader: {algorithm: es}", "2:17", "whole episodes", "show it as an axis",
    ),
    "epsilon for parameter noise": (
        "matrix: hero\nfollower: {oracle: tabular_q, exploration: parameter_noise, epsilon: 0.2}", "2:70",
        "follower.epsilon: expected something else with follower.exploration 'parameter_noise', got 0.2",
        "one of the two",
    ),
    "noise for epsilon-greedy": (
        "matrix: hero\nfollower: {oracle: tabular_q, noise: 0.2}", "2:38", "follower.noise: expected", "one of the two",
    ),
    "duplicate key": ("matrix: hero\nseed: 1\nseed: 2", "3:1", "a second time (first in line 2)", "remove one"),
    "duplicate nested": (
        "matrix: hero\nleader:\n  lr: 1\n  lr: 2", "4:3", "leader.lr: expected each key once", "remove",
    ),
    "empty axis": ("matrix: hero\naxes:\n  seed: []", "3:9", "axes.seed: expected a list of values", "at least one"),
    "axis without list": (
        "matrix: hero\naxes: {seed: 5}", "2:14", "axes.seed: expected a list of values, got 5", "list",
    ),
    "axes as a list": ("matrix: hero\naxes: [seed]", "2:7", "axes: expected a section of settings", "key: value"),
    "duplicate seed": (
        "matrix: hero\naxes: {seed: [1, 2, 1]}", "2:21", "axes.seed[2]: expected each value once", "remove",
    ),
    "equal numbers": (
        "matrix: hero\naxes: {leader.lr: [1, 1.0]}", "2:23", "each value once, got 1.0 a second", "remove",
    ),
    "negative rate": ("matrix: hero\nleader: {lr: -0.1}", "2:14", "leader.lr: expected a number above 0", "0.008"),
    "negative rate in axis": (
        "matrix: hero\naxes: {leader.lr: [0.1, -1]}", "2:25", "leader.lr[1]: expected a", "0.008",
    ),
    "infinite rate": ("matrix: hero\nleader: {lr: .inf}", "2:14", "leader.lr: expected a finite number", "0.008"),
    "negative seed": ("matrix: hero\nseed: -1", "2:7", "seed: expected a number of at least 0, got -1", "default is 1"),
    "huge seed": ("matrix: hero\nseed: 9223372036854775808", "2:7", "seed: expected a number below 92", "default is 1"),
    "null in an axis": (
        "matrix: hero\naxes: {leader.value_clip: [1, null]}", "2:31", "expected one value, got nothing", "own",
    ),
    "list in an axis": (
        "matrix: hero\naxes: {seed: [1, [2]]}", "2:18", "axes.seed[1]: expected one value, got a list", "",
    ),
    "mixed axis": (
        "matrix: hero\naxes: {game.rounds: [1, ten]}", "2:25", "game.rounds[1]: expected a whole number", "",
    ),
    "ragged payoffs": (
        "matrix: g\npayoffs:\n  g:\n  - [[1, 2], [3, 4]]\n  - [[1, 2]]",
        "5:5", "payoffs.g[1]: expected 2 columns", "rows of cells",
    ),
    "flat payoffs": (
        "matrix: g\npayoffs: {g: [1, 2]}", "2:15", "payoffs.g[0]: expected rows of cells", "rows of cells",
    ),
    "NaN payoffs": ("matrix: g\npayoffs: {g: [[[.nan, 0]]]}", "2:17", "g[0][0][0]: expected a finite", "two numbers"),
    "infinite payoffs": (
        "matrix: g\npayoffs: {g: [[[0, -.inf]]]}", "2:20", "g[0][0][1]: expected a finite", "two numbers",
    ),
    "redefined game": ("matrix: hero\npayoffs: {hero: 1}", "2:11", "payoffs.hero: expected a new game", "another name"),
    "bad game name": ("matrix: hero\npayoffs: {a/b: [[[1, 2]]]}", "2:11", "got 'a/b'", "choose another name"),
    "unknown game": ("matrix: heroo", "1:9", "matrix: expected a known game, got 'heroo'", "did you mean 'hero'?"),
    "unknown game in axis": (
        "axes:\n  matrix:\n  - hero\n  - stag_hnt", "4:5", "axes.matrix[1]: expected", "'stag_hunt'?",
    ),
    "number for a game": ("matrix: 3", "1:9", "matrix: expected a known game, got 3", "prisoners_dilemma"),
    "no game": ("seed: 3", "1:1", "matrix: expected a known game, got nothing", "prisoners_dilemma"),
    "unknown axis": ("matrix: hero\naxes: {leader.updats: [1]}", "2:8", "expected a setting", "'leader.updates'?"),
    "axis over a section": (
        "matrix: hero\naxes: {leader: [1]}", "2:8", "axes.leader: expected one setting", "`leader.",
    ),
    "axis over payoffs": (
        "matrix: hero\naxes: {payoffs: [1]}", "2:8", "axes.payoffs: expected one setting", "`matrix: ",
    ),
    "unread key": (
        "matrix: hero\nleader: {algorithm: pg, clip: 0.1}",
        "2:25", "leader.clip: expected a setting that algorithm pg reads, got 'clip', which algorithm ppo", "remove it",
    ),
    "unread axis": (
        "matrix: hero\nfollower: {oracle: exact}\naxes: {follower.lr: [1]}",
        "3:8", "follower.lr: expected a setting that oracle exact reads, got 'lr', which oracle", "remove it",
    ),
    "unread by one of two": (
        "matrix: hero\nleader: {clip: 0.1}\naxes: {leader.algorithm: [ppo, pg]}",
        "2:10", "leader.clip: expected a setting that algorithm pg reads", "change leader.algorithm",
    ),
    "unknown algorithm": ("matrix: hero\nleader: {algorithm: poo}", "2:21", "leader.algorithm: expected a", "'ppo'?"),
    "unknown oracle": ("matrix: hero\naxes: {follower.oracle: [exat]}", "2:26", "expected a known oracle", "'exact'?"),
    "unknown memory": (
        "matrix: hero\ngame: {memory: jiont}", "2:16", "expected 'none', 'opponent' or 'joint'", "'joint'?",
    ),
    "a list as matrix": (
        "matrix: [hero, chicken]", "1:9", "matrix: expected a known game, got a list", "list several under `axes:",
    ),
    "a list as setting": (
        "matrix: hero\nleader: {lr: [0.1, 0.2]}", "2:14", "leader.lr: expected a number, got a list", "under `axes:`",
    ),
    "a section as matrix": ("matrix: {a: 1}", "1:9", "matrix: expected a known game, got a section", "name one"),
    "a list in the axis matrix": (
        "axes: {matrix: [[hero], chicken]}", "1:17", "axes.matrix[0]: expected one value, got a list", "list numbers",
    ),
    "matrix twice": ("matrix: hero\naxes: {matrix: [battle]}", "2:8", "either a setting or an axis", "remove one"),
    "setting and axis": (
        "matrix: hero\nseed: 1\naxes: {seed: [1]}", "3:8", "either a setting or an axis", "remove one",
    ),
    "bad name": ("matrix: hero\nname: a/b", "2:7", "name: expected a word of letters", "set `name`"),
    "bad description": ("matrix: hero\ndescription: 3", "2:14", "description: expected text, got 3", "quotes"),
    "date": (
        "matrix: hero\ndescription: 2020-01-01", "2:14", "expected a plain value, got a value tagged", "in quotes",
    ),
    "tag": (
        "matrix: !!python/name:os.system x", "1:9", "expected a plain value, got a value tagged 'python", "in quotes",
    ),
    "alias": ("matrix: &m hero\nname: *m", "1:9", "name: expected a value written out, got an alias", "repeat"),
    "number as key": ("matrix: hero\n1: 2", "2:1", "file: expected words as keys, got '1'", "in quotes"),
    "huge number": (f"matrix: hero\nleader: {{lr: {'9' * 5000}}}", "2:14", "leader.lr: expected a plain value", ""),
    "too many tables": (
        f"matrix: big\npayoffs: {{big: {THREE_BY_THREE}}}",
        "1:9", "matrix: expected at most 4096 leader tables, got 3^10 with memory joint", "smaller game.memory",
    ),
    "too many for one memory": (
        f"payoffs: {{big: {THREE_BY_THREE}}}\naxes: {{matrix: [hero, big], game.memory: [none, opponent, joint]}}",
        "2:23", "axes.matrix[1]: expected at most 4096 leader tables, got 3^10", "smaller game.memory",
    ),
    "too many for one follower": (
        f"payoffs: {{big: {THREE_BY_THREE}}}\nmatrix: big\naxes: {{follower.network: [mlp, table]}}",
        "2:9", "matrix: expected at most 4096 leader tables, got 3^10", "follower.network mlp",
    ),
    "too many for another oracle": (
        f"payoffs: {{big: {THREE_BY_THREE}}}\nmatrix: big\nfollower: {{oracle: tabular_q}}",
        "2:9", "matrix: expected at most 4096 leader tables, got 3^10", "contextual followers",
    ),
    "hidden layers of a table": (
        "matrix: hero\nleader: {hidden: [8]}", "2:18",
        "leader.hidden: expected something else with leader.network 'table', got a list: a table has no hidden layers",
        "set leader.network to mlp",
    ),
    "hidden layers of a follower's table": (
        "matrix: hero\nfollower: {hidden: [8, 8]}\nleader: {network: mlp}", "2:20", "follower.hidden: expected",
        "leave it",
    ),
    "a number of hidden layers": (
        "matrix: hero\nleader: {network: mlp, hidden: 8}", "2:32", "leader.hidden: expected a list, got 8",
        "leave it out",
    ),
    "no hidden layers": (
        "matrix: hero\nleader: {network: mlp, hidden: []}", "2:32",
        "leader.hidden: expected a list of at least 1, got an empty list", "leave it out",
    ),
    "hidden layers of nothing": (
        "matrix: hero\nleader: {network: mlp, hidden: [0]}", "2:33", "leader.hidden[0]: expected a number above 0", "",
    ),
    "hidden layers of words": (
        "matrix: hero\nleader: {network: mlp, hidden: [a]}", "2:33",
        "leader.hidden[0]: expected a whole number", "",
    ),
    "hidden layers along an axis": (
        "matrix: hero\nleader: {network: mlp}\naxes: {leader.hidden: [8, 16]}", "3:8",
        "axes.leader.hidden: expected a setting of one value, got 'leader.hidden', which is a list", "sweep of its own",
    ),
    "a limit of a regret that is not known": (
        f"payoffs: {{big: {FOUR_BY_FOUR}}}\nmatrix: big\nfollower: {{network: mlp, max_regret: 0.5}}", "3:38",
        "follower.max_regret: expected something else with matrix 'big', got 0.5: its best responses are too many",
        "leave it out",
    ),
    "limits of a regret that is not known in longer games": (
        f"payoffs: {{big: {FOUR_BY_FOUR}}}\naxes: {{matrix: [hero, big], game.rounds: [2, 10], "
        "follower.max_regret: [2]}\nfollower: {network: mlp}", "2:73", "axes.follower.max_regret[0]: expected",
        "fewer rounds",
    ),
    "a hidden layer of nothing": (
        "matrix: hero\nleader: {network: mlp, hidden: [8, 0]}", "2:36",
        "leader.hidden[1]: expected a number above 0", "",
    ),
    "a leader without networks": (
        "matrix: hero\nleader: {algorithm: es, network: mlp}", "2:25",
        "leader.network: expected a setting that algorithm es reads, got 'network', which algorithm pg and ppo reads",
        "remove it",
    ),
    "segments of nothing": (
        "matrix: hero\nsegment: 0", "2:10", "segment: expected leader updates, 1 or more, got 0", "in one piece",
    ),
    "segments of a yes": ("matrix: hero\nsegment: yes", "2:10", "segment: expected leader updates", "in one piece"),
    "segments of a fraction": ("matrix: hero\nsegment: 1.5", "2:10", "segment: expected leader updates", "one piece"),
    "segments along an axis": ("axes: {matrix: [hero], segment: [1, 2]}", "1:24", "segment", ""),
    "empty": ("# nothing\n", "1:1", "file: expected a mapping of settings, got an empty file", "matrix: prisoners"),
    "a list": ("- 1", "1:1", "file: expected a mapping of settings, got a list", "matrix: prisoners_dilemma"),
    "a word": ("hero", "1:1", "file: expected a mapping of settings, got 'hero'", "matrix: prisoners_dilemma"),
    "open bracket": ("matrix: hero\naxes: {seed: [1,", "2:17", "syntax: expected valid YAML", "check the indentation"),
    "two documents": ("matrix: hero\n---\nseed: 1", "2:1", "syntax: expected valid YAML", "check the indentation"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "line", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_gives_one_line_with_place_and_remedy(text: str, place: str, line: str, remedy: str) -> None:
    message = problem(text)
    assert "\n" not in message
    assert message.startswith(f"f.yaml:{place}: ")
    assert line in message
    _, semicolon, advice = message.partition("; ")
    assert semicolon
    assert remedy in advice


def test_all_problems_are_reported_in_the_order_of_the_text() -> None:
    lines = problem("axes: {seed: [1, 1]}\nleader: {lr: -1}\nmatrix: heroo\nfoo: 1").splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["a: b\x00", "[" * 5000])
def test_what_is_no_yaml_at_all_is_a_problem_of_the_text(text: str) -> None:
    assert problem(text).startswith("f.yaml: syntax: expected valid YAML")


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x80\x81\x00")
    for path, got in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory"), (binary, "binary data")):
        with pytest.raises(
            SpecError, match=rf"file: expected a sweep file in YAML, got {got}.*; check the path"
        ) as caught:
            load_sweep(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_the_name_is_the_files_stem_unless_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("matrix: hero", encoding="utf-8")
    assert load_sweep(path).name == "mine"
    assert load_sweep(path, ["name=other"]).name == "other"
    spaced = path.rename(tmp_path / "my sweep.yaml")
    with pytest.raises(SpecError, match=r"name: expected a word .*, got 'my sweep'; set `name`"):
        load_sweep(spaced)


# Claims -------------------------------------------------------------------------------------------------------------

SWEPT = "axes: {matrix: [hero, battle], leader.lr: [0.1, 1], follower.early_stop: [true, false]}\n"
CLAIM = """claims:
- text: Bold pays.
  left: {variable: leader_return, leader.lr: 1.0, at: last}
  relation: greater
  right: {variable: leader_return, leader.lr: 0.1, at: 3}
  where: {matrix: [battle, hero], follower.early_stop: false}
  note: In neither game.
"""

# Each mistake: what of the claim is replaced by what, its place, and what the one line says.
CLAIM_MISTAKES = {
    "no list": (CLAIM, "claims: Bold pays.", "2:9", "claims: expected a list of claims, got 'Bold", "write each below"),
    "nothing": (CLAIM, "claims:", "2:8", "claims: expected a list of claims, got nothing", "write each below"),
    "a sentence": (CLAIM, "claims: [Bold pays.]", "2:10", "claims[0]: expected a claim, got 'Bold", "text, left,"),
    "unknown key": ("note:", "nott:", "8:3", "claims[0].nott: expected a key of a claim", "'note'?"),
    "no text": ("text: Bold pays.", "text: ''", "3:9", "claims[0].text: expected a sentence, got nothing", "in quotes"),
    "number as text": ("Bold pays.", "1", "3:9", "claims[0].text: expected a sentence, got 1", "in quotes"),
    "list as note": ("In neither game.", "[a]", "8:9", "claims[0].note: expected a sentence, got a list", "quotes"),
    "no relation": ("relation: greater\n  ", "", "3:3", "claims[0].relation: expected a relation, got no", "known"),
    "unknown relation": ("greater", "grater", "5:13", "claims[0].relation: expected a relation, got 'gr", "'greater'?"),
    "number on the left": (
        "left: {variable: leader_return, leader.lr: 1.0, at: last}", "left: 1",
        "4:9", "claims[0].left: expected a variable with selections, got 1", "{variable: ",
    ),
    "word on the right": (
        "right: {variable: leader_return, leader.lr: 0.1, at: 3}", "right: no",
        "6:10", "claims[0].right: expected a variable or a number, got 'no'", "{variable: ",
    ),
    "infinite right": (
        "right: {variable: leader_return, leader.lr: 0.1, at: 3}", "right: .inf", "6:10", "expected a finite", "0",
    ),
    "no variable": ("variable: leader_return, leader.lr: 1.0, ", "", "4:9", "left.variable: expected a var", "known: "),
    "unknown variable": (
        "variable: leader_return, leader.lr: 1.0", "variable: leader_retrun",
        "4:20", "claims[0].left.variable: expected a variable of one number", "'leader_return'?",
    ),
    "variable of many numbers": (
        "variable: leader_return, leader.lr: 1.0", "variable: leader_policy", "4:20", "got 'leader_policy'", "",
    ),
    "unknown place": ("at: last", "at: lst", "4:55", "left.at: expected end, last, first or an update's", "leave it"),
    "update 0": ("at: 3", "at: 0", "6:56", "claims[0].right.at: expected end, last, first or", "leave it out"),
    "update true": ("at: 3", "at: true", "6:56", "claims[0].right.at: expected end, last, first or", "leave it out"),
    "update of no curve": (
        "leader_return, leader.lr: 1.0", "converged", "4:31", "left.at: expected no `at`, got one for conv", "remove",
    ),
    "unknown axis": ("leader.lr: 1.0", "leader.lrr: 1.0", "4:35", "expected an axis of this sweep", "'leader.lr'?"),
    "setting that is no axis": (
        "leader.lr: 1.0", "game.rounds: 10", "4:35", "left.game.rounds: expected an axis of this sweep", "or remove it",
    ),
    "unknown value": ("leader.lr: 0.1,", "leader.lr: 0.2,", "6:47", "leader.lr: expected a value of the axis", "0.1"),
    "1 for true": (
        "leader.lr: 0.1,", "follower.early_stop: 1,", "6:36", "expected an axis that `where` leaves open", "remove one",
    ),
    "number for truth": ("early_stop: false", "early_stop: 0", "7:56", "value of the axis follower.early", "claims"),
    "unknown value in a list": ("[battle, hero]", "[batle, hero]", "7:20", "matrix[0]: expected a value", "'battle'?"),
    "a value twice": ("[battle, hero]", "[hero, hero]", "7:19", "where.matrix: expected different values", "once"),
    "no value": ("[battle, hero]", "[]", "7:19", "where.matrix: expected different values, got an empty", "once"),
    "where without axes": (
        "{matrix: [battle, hero], follower.early_stop: false}", "hero", "7:10", "where: expected values by axis", "lr",
    ),
    "list on a side": ("leader.lr: 1.0", "leader.lr: [1]", "4:46", "left.leader.lr: expected a value", "known: 0.1, 1"),
}  # fmt: skip


def test_a_claim_is_read_with_the_values_of_the_axes() -> None:
    (claim,) = parse_sweep(SWEPT + CLAIM, "s").claims
    left = Quantity("leader_return", "last", {"leader.lr": 1.0})
    right = Quantity("leader_return", 3, {"leader.lr": 0.1})
    where = {"matrix": ("battle", "hero"), "follower.early_stop": (False,)}
    assert claim == Claim("Bold pays.", left, "greater", right, where, "In neither game.")
    assert claim.test == (
        "leader_return at last [leader.lr=1.0] > leader_return at 3 [leader.lr=0.1] "
        "where [matrix=battle or hero, follower.early_stop=False]"
    )


@pytest.mark.parametrize(("old", "new", "place", "line", "remedy"), CLAIM_MISTAKES.values(), ids=CLAIM_MISTAKES.keys())
def test_a_mistake_in_a_claim_gives_one_line(old: str, new: str, place: str, line: str, remedy: str) -> None:
    assert old in CLAIM
    message = problem(SWEPT + CLAIM.replace(old, new))
    assert "\n" not in message
    assert message.startswith(f"f.yaml:{place}: ")
    assert line in message
    assert remedy in message.partition("; ")[2]


def test_a_wrong_axis_is_not_reported_again_by_its_claims() -> None:
    assert "\n" not in problem(SWEPT.replace("0.1, 1", "0.1, -1") + CLAIM)


def test_claims_are_no_setting() -> None:
    """They may change, come and go without any effect on what was run."""
    with_claim, without = parse_sweep(SWEPT + CLAIM, "s"), parse_sweep(SWEPT, "s")
    assert with_claim.fixed == without.fixed
    assert with_claim.run((0, 0, 0)).run_id == without.run((0, 0, 0)).run_id
    assert "claims" in with_claim.text
    assert "claims" not in without.text


def test_an_override_that_a_claim_needs_otherwise_names_the_way_out() -> None:
    fewer = "axes.leader.lr=[0.1]"
    message = problem(SWEPT + CLAIM, (fewer,))
    assert message.startswith("f.yaml:4:46: claims[0].left.leader.lr: expected a value of the axis leader.lr, got 1.0")
    assert "--set claims=[]" in message
    assert parse_sweep(SWEPT + CLAIM, "s", [fewer, "claims=[]"]).claims == ()


TRIALS = """search: {method: random, trials: 3, space: {leader.lr: {low: 0.1, high: 1.0}}}
axes: {matrix: [hero], seed: [1]}
claims:
- text: Searching pays.
  left: {variable: leader_return, trial: best}
  relation: greater
  right: {variable: leader_return, trial: 0}
  where: {seed: 1}
"""


def test_a_claim_on_a_search_chooses_trials_by_number_or_the_best() -> None:
    sweep = parse_sweep(TRIALS, "s")
    (claim,) = sweep.claims
    assert (claim.left.where, claim.right.where) == ({"trial": "best"}, {"trial": 0})
    assert claim.test == "leader_return [trial=best] > leader_return [trial=0] where [seed=1]"
    assert parse_sweep(sweep.to_yaml(), "s") == sweep


TRIAL_MISTAKES = {
    "no such trial": ("trial: 0", "trial: 3", "7:43", "right.trial: expected a value of the axis trial, got 3; known"),
    "no such word": ("trial: best", "trial: bst", "5:42", "left.trial: expected a value of the axis trial, got 'bst'"),
    "best of both": ("seed: 1}", "trial: best}", "5:35", "left.trial: expected an axis that `where` leaves open"),
    "no search": (TRIALS.splitlines()[0], "leader: {lr: 0.1}", "5:35", "left.trial: expected an axis of this sweep"),
}


@pytest.mark.parametrize(("old", "new", "place", "line"), TRIAL_MISTAKES.values(), ids=TRIAL_MISTAKES.keys())
def test_a_wrong_trial_in_a_claim_gives_one_line(old: str, new: str, place: str, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_sweep(TRIALS.replace(old, new), "s")
    first = str(caught.value).splitlines()[0]
    assert f":{place}: claims[0]." in first
    assert line in first


def test_a_wrong_search_is_not_reported_again_by_its_claims() -> None:
    with pytest.raises(SpecError) as caught:
        parse_sweep(TRIALS.replace("trials: 3", "trials: 0"), "s")
    assert "claims" not in str(caught.value)


def test_claims_can_be_about_the_numbers_of_the_store() -> None:
    curves = [v.name for v in LEADER_VARIABLES if len(v.dims) == 1]
    singles = [v.name for v in RUN_VARIABLES if v.dtype != "string" and "since" not in v.units]
    assert sorted(CURVES) == sorted(curves)
    assert sorted(SINGLES) == sorted(["converged", "steps_to_equilibrium", *singles, *(v.name for v in GROUND_TRUTH)])


# Overrides ----------------------------------------------------------------------------------------------------------


def test_overrides_set_settings_and_axes() -> None:
    text = "matrix: hero\nleader: {lr: 1e-3}\naxes: {seed: [1, 2, 3]}"
    sweep = parse_sweep(text, "s", {"game.memory": "none", "axes.seed": "[7]", "axes.leader.lr": "[0.1, 2e-1]"})
    assert sweep.axes == {"seed": (7,), "leader.lr": (0.1, 0.2)}
    assert sweep.run((0, 1)).game.memory == "none"
    assert sweep == parse_sweep(text, "s", ["game.memory=none", "axes.seed=[7]", "axes.leader.lr=[0.1, 2e-1]"])
    assert parse_sweep(text, "s").run((0,)).leader.lr == 0.001


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed=3", "override seed=3: seed: expected a setting, got an axis; use axes.seed=[...]"),
        ("leader.lr=-1", "override leader.lr=-1: leader.lr: expected a number above 0.0, got -1; the default is 0.008"),
        ("leadr.lr=1", "override leadr.lr=1: leadr: expected a key of a sweep, got 'leadr'; did you mean 'leader'?"),
        ("axes.seed=[4, 4]", "override axes.seed=[4, 4]: axes.seed[1]: expected each value once, got 4 a second time"),
        ("leader.lr='1'", "override leader.lr='1': leader.lr: expected a number, got '1'; write the number without"),
        ("seed", "override: expected key=value, got 'seed'; for instance seed=2"),
        ("axes.seed=[1", "override axes.seed=[1:1:3: syntax: expected valid YAML"),
    ],
)
def test_a_wrong_override_says_which(override: str, line: str) -> None:
    assert problem("matrix: hero\naxes: {seed: [1]}", (override,)).startswith(line)


# What a sweep is ------------------------------------------------------------------------------------------------------

SWEEP = """
payoffs: {wide: [[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]]}
game: {memory: opponent}
axes:
  matrix: [hero, wide]
  leader.updates: [10, 30, 20]
  follower.post_updates: [0, 5]
  follower.lr: [0.1, 0.2]
  game.rounds: [5, 10]
  seed: [4, 2]
"""


def test_dims_labels_and_runs_follow_the_axes() -> None:
    sweep = parse_sweep(SWEEP, "s")
    post, lr = "follower_post_updates", "follower_lr"
    assert sweep.dims == ("matrix", "leader_updates", post, lr, "game_rounds", "seed")
    assert sweep.shape == (2, 3, 2, 2, 2, 2)
    assert sweep.size == len(list(sweep.indices())) == 96
    assert sweep.labels["leader_updates"] == (10, 30, 20)
    assert sweep.game_dims == ("matrix", "game_rounds")
    assert sweep.follower_dims == ("matrix", lr, "game_rounds", "seed")
    run = sweep.run((1, 2, 1, 0, 0, 1))
    assert (run.matrix, run.leader.updates, run.game.rounds, run.seed) == ("wide", 20, 5, 2)
    assert run.follower == ContextualSettings(lr=0.1, post_updates=5)
    assert run.to_game() == Game(sweep.games["wide"], "opponent", 5, -2.5)


def test_sizes_are_the_largest_over_the_axes() -> None:
    sweep = parse_sweep(SWEEP, "s")  # wide: 2 x 3 actions, so 1 + 3 leader states and 1 + 2 follower states
    assert sweep.leader_sizes == {"iteration": 30, "post_iteration": 5, "state": 4, "action": 2}
    assert sweep.follower_sizes == {"iteration": 500, "context": 2**4, "state": 3, "action": 3, "parameter": 0}
    exact = parse_sweep("matrix: hero\nfollower: {oracle: exact}\naxes: {game.memory: [none, joint]}", "s")
    assert exact.leader_sizes == {"iteration": 500, "post_iteration": 0, "state": 5, "action": 2}
    assert exact.follower_sizes == {"iteration": 0, "context": 32, "state": 5, "action": 2, "parameter": 0}


def test_networks_are_settings_as_any_other() -> None:
    text = f"""\
payoffs: {{big: {THREE_BY_THREE}}}
matrix: big
leader: {{algorithm: pg, hidden: [16]}}
follower: {{network: mlp, hidden: [7, 5]}}
axes: {{leader.network: [mlp, table]}}
"""
    sweep = parse_sweep(text, "s")
    assert parse_sweep(sweep.to_yaml(), "s") == sweep
    run, other = sweep.run((0,)), sweep.run((1,))
    assert RunSpec.from_yaml(run.to_yaml()) == run
    assert (run.leader.hidden_sizes, other.leader.hidden_sizes) == ((16,), ())
    assert run.follower.hidden_sizes == (7, 5)
    assert run.pack_key != other.pack_key
    assert run.run_id != other.run_id
    assert sweep.fixed["follower.hidden"] == (7, 5)
    parameters = (30 + 1) * 7 + (7 + 1) * 5 + (5 + 1) * 30
    assert sweep.follower_sizes == {"iteration": 500, "context": 0, "state": 10, "action": 3, "parameter": parameters}
    assert parse_sweep("matrix: hero\nleader: {network: mlp}", "s").run(()).leader.hidden_sizes == (64, 64)


def test_networks_left_out_change_neither_ids_nor_what_stores_compare() -> None:
    sweep = parse_sweep("matrix: hero", "s")
    assert not [name for name in sweep.fixed if name.endswith((".network", ".hidden"))]
    assert sweep.run(()).run_id == parse_sweep("matrix: hero\nleader: {network: table}", "s").run(()).run_id
    assert sweep.run(()).run_id != parse_sweep("matrix: hero\nleader: {network: mlp}", "s").run(()).run_id
    assert parse_sweep("matrix: hero\nfollower: {network: mlp}", "s").fixed["follower.network"] == "mlp"


def test_fixed_has_every_setting_that_is_no_axis() -> None:
    fixed = parse_sweep(SWEEP, "s").fixed
    assert fixed["payoffs.wide"] == [[[1, 2], [3, 4], [5, 6]]] * 2
    assert fixed["game.memory"] == "opponent"
    assert fixed["leader.value_clip"] is None
    assert {"matrix", "leader.updates", "game.rounds", "seed", "name", "description"}.isdisjoint(fixed)
    assert parse_sweep("matrix: hero", "s").fixed["matrix"] == "hero"
    assert json.loads(json.dumps(fixed)) == fixed


def test_an_axis_may_choose_the_algorithm_and_its_defaults() -> None:
    sweep = parse_sweep("matrix: hero\nleader: {updates: 7}\naxes: {leader.algorithm: [pg, ppo]}", "s")
    assert [sweep.run(index).leader for index in sweep.indices()] == [PGSettings(updates=7), PPOSettings(updates=7)]
    assert sweep.fixed["leader[pg].batch_steps"] == 100
    assert sweep.fixed["leader[ppo].batch_steps"] == 1000
    assert sweep.leader_sizes["iteration"] == 7
    assert parse_sweep(sweep.text, "other") == sweep


def test_without_axes_there_is_one_run() -> None:
    sweep = parse_sweep("matrix: hero", "s")
    assert (sweep.dims, sweep.shape, sweep.size, list(sweep.indices())) == ((), (), 1, [()])
    assert sweep.run(()) == hero()


def test_segments_are_no_setting_of_any_run() -> None:
    text = "matrix: chicken\naxes: {seed: [1, 2]}\n"
    whole, cut = parse_sweep(text, "x"), parse_sweep(text + "segment: 20\n", "x")
    assert (whole.segment, cut.segment) == (None, 20)
    assert [whole.run(at) for at in whole.indices()] == [cut.run(at) for at in cut.indices()]
    assert whole.fixed == cut.fixed
    assert parse_sweep(cut.text, "x") == cut
    assert "segment" not in whole.text
    assert parse_sweep(text + "segment: null\n", "x") == whole


def test_a_large_sweep_loads_at_once_and_stays_small() -> None:
    rates = ", ".join(f"{i / 1000}" for i in range(1, 101))
    text = f"axes:\n  matrix: [{', '.join(CANONICAL)}]\n  leader.lr: [{rates}]\n  seed: {list(range(100))}"
    tracemalloc.start()
    start = time.perf_counter()
    sweep = parse_sweep(text, "s")
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sweep.size == 120_000
    assert seconds < 1
    assert peak < 10e6  # bytes; 120,000 run specs would take some hundreds of megabytes


def test_hiding_queries_from_evolution_strategies_can_be_shown_to_change_nothing() -> None:
    sweep = parse_sweep("matrix: hero\nleader: {algorithm: es}\naxes: {hidden_queries: [false, true]}", "shown")
    assert [sweep.run(index).hidden_queries for index in sweep.indices()] == [False, True]


def test_a_query_bit_doubles_the_states_of_the_leader() -> None:
    sweep = parse_sweep("matrix: hero\ngame: {memory: opponent}\naxes: {query_bit: [false, true]}", "bit")
    assert [sweep.run(index).leader_states for index in sweep.indices()] == [3, 6]
    assert sweep.leader_sizes["state"] == 6
    assert sweep.follower_dims == ()


# Names of runs --------------------------------------------------------------------------------------------------------


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


# What is written can be read ------------------------------------------------------------------------------------------

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


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(sweep_texts())
def test_sweeps_survive_yaml(text: str) -> None:
    sweep = parse_sweep(text, "s")
    copy = parse_sweep(sweep.to_yaml(), "another name")
    assert copy == sweep
    assert copy.text == sweep.text
    last = tuple(length - 1 for length in sweep.shape)
    assert copy.run(last).run_id == sweep.run(last).run_id


# The files in sweeps/ -------------------------------------------------------------------------------------------------


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
