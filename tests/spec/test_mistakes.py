"""What each mistake in a sweep file says, and what a file that cannot be read does."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpop.errors import SpecError
from stackpop.spec import load_sweep
from sweep_texts import THREE_BY_THREE, problem

FOUR_BY_FOUR = [[[1, 2]] * 4] * 4

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
