"""The search of a sweep file: what it means, and what each mistake in it says."""

from __future__ import annotations

import pytest

from small_search import LR, RANDOM, SEARCH, search
from stackpop.errors import SpecError
from stackpop.spec import parse_sweep
from stackpop.spec.search import SearchSettings
from stackpop.store.schema import LEADER_VARIABLES

HEAD = "matrix: hero\nsearch:\n  method: tpe\n  trials: 3\n"
MISTAKES = {
    "no section": ("matrix: hero\nsearch: 5", "2:9: search: expected a section of settings, got 5"),
    "unknown key": (f"{HEAD}  trails: 4\n  space: {LR}", "5:3: search.trails: expected a key of a search", "'trials'?"),
    "unknown method": (
        HEAD.replace("tpe", "tp") + f"  space: {LR}",
        "3:11: search.method: expected 'random' or 'tpe', got 'tp'",
        "tpe",
    ),
    "no method": (
        f"matrix: hero\nsearch:\n  trials: 3\n  space: {LR}",
        "search.method: expected a value, got nothing",
        "give one",
    ),
    "unread key": (
        HEAD.replace("tpe", "random") + f"  at_once: 2\n  space: {LR}",
        "5:12: search.at_once: expected a key that method",
    ),
    "unknown objective": (
        f"{HEAD}  objective: regret\n  space: {LR}",
        "5:14: search.objective: expected 'leader_return'",
    ),
    "no space": (HEAD, "search.space: expected settings to search, got nothing", "for instance `leader.lr"),
    "space as a list": (f"{HEAD}  space: [leader.lr]", "5:10: search.space: expected settings to search, got a list"),
    "unknown setting": (f"{HEAD}  space: {LR.replace('lr', 'lrr')}", "5:11: search.space.leader.lrr: ", "'leader.lr'?"),
    "seed": (
        f"{HEAD}  space: {{seed: {{low: 1, high: 9}}}}",
        "5:11: search.space.seed: ",
        "got 'seed'; make it an axis",
    ),
    "game": (
        f"{HEAD}  space: {{game.rounds: {{low: 1, high: 9}}}}",
        "5:11: search.space.game.rounds: ",
        "make it an axis",
    ),
    "chooser": (
        f"{HEAD}  space: {{leader.algorithm: {{choices: [pg, ppo]}}}}",
        "5:11: search.space.leader.algo",
        "make it an axis",
    ),
    "also a setting": (
        f"{HEAD}  space: {LR}\nleader: {{lr: 1}}",
        "got both 'leader.lr' and 'search.space.leader.lr'; rem",
    ),
    "also an axis": (
        f"{HEAD}  space: {LR}\naxes: {{leader.lr: [1]}}",
        "got both 'axes.leader.lr' and 'search.space.lea",
    ),
    "not read": (
        f"{HEAD}  space: {{leader.clip: {{low: 0.1, high: 1}}}}\nleader: {{algorithm: pg}}",
        "5:11: search.space.leader.clip: expected a setting that algorithm pg reads",
    ),
    "unknown range": (
        f"{HEAD}  space: {{leader.lr: {{low: 1}}}}",
        "5:22: search.space.leader.lr: expected the keys low",
    ),
    "range as a list": (f"{HEAD}  space: {{leader.lr: [1, 2]}}", "5:22: search.space.leader.lr: ", "got a list"),
    "low above high": (
        f"{HEAD}  space: {{leader.lr: {{low: 2, high: 1}}}}",
        "5:28: ",
        "low below high, got low 2.0 and hi",
    ),
    "no span": (f"{HEAD}  space: {{leader.lr: {{low: 1, high: 1}}}}", "5:28: ", "expected low below high"),
    "log of zero": (
        f"{HEAD}  space: {{leader.kl_coefficient: {{low: 0, high: 1, log: true}}}}",
        "5:40: ",
        "a low above 0 with log",
    ),
    "log as a word": (
        f"{HEAD}  space: {{leader.lr: {{low: 1, high: 2, log: yes}}}}",
        "5:45: ",
        "true or false, got 'yes'",
    ),
    "invalid end": (f"{HEAD}  space: {{leader.lr: {{low: -1, high: 2}}}}", "5:28: ", "a number above 0.0, got -1"),
    "fraction of a whole": (
        f"{HEAD}  space: {{leader.updates: {{low: 1, high: 2.5}}}}",
        "5:42: ",
        "a whole number, got 2.5",
    ),
    "truth values as ends": (
        f"{HEAD}  space: {{follower.early_stop: {{low: false, high: true}}}}",
        "5:32: ",
        "{choices: [false, true]}",
    ),
    "no choices": (f"{HEAD}  space: {{leader.lr: {{choices: []}}}}", "5:32: ", "a list of values, got an empty list"),
    "choice twice": (
        f"{HEAD}  space: {{leader.lr: {{choices: [1, 1.0]}}}}",
        "5:36: ",
        "each value once, got 1.0 a second",
    ),
    "null as a choice": (
        f"{HEAD}  space: {{leader.value_clip: {{choices: [null, 1]}}}}",
        "5:41: ",
        "a number, got nothing",
    ),
    "hidden layers": (
        f"{HEAD}  space: {{leader.hidden: {{choices: [8, 16]}}}}\nleader: {{network: mlp}}",
        "5:11: search.space.leader.hidden: expected a number or truth value",
        "got 'leader.hidden', which is a list; give each list a sweep of its own",
    ),
    "unread beside a setting": (
        f"{HEAD}  space: {{follower.epsilon: {{low: 0.1, high: 0.2}}}}\n"
        "follower: {oracle: tabular_q, exploration: parameter_noise}",
        "5:29: search.space.follower.epsilon: expected something else with follower.exploration 'parameter_noise', ",
        "one of the two",
    ),
    "start as a section": (f"{HEAD}  start: {{leader.lr: 1}}\n  space: {LR}", "5:10: search.start: expected a list of"),
    "start too long": (
        f"{HEAD}  start: [{', '.join(['{leader.lr: 1}'] * 4)}]\n  space: {LR}",
        "5:10: ",
        "at most 3 candidates, as search.t",
    ),
    "start of another name": (
        f"{HEAD}  start: [{{lr: 1}}]\n  space: {LR}",
        "5:11: search.start[0]: ",
        "got values of lr",
    ),
    "start out of range": (
        f"{HEAD}  start: [{{leader.lr: 2}}]\n  space: {LR}",
        "5:23: search.start[0].leader.lr: expected a va",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_every_mistake_is_one_line_with_its_place(case: str) -> None:
    text, *words = MISTAKES[case]
    with pytest.raises(SpecError) as caught:
        parse_sweep(text, "file", source="f.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("f.yaml:")
    for word in words:
        assert word in line


def test_setting_that_is_searched_cannot_be_overridden() -> None:
    with pytest.raises(SpecError, match=r"got both 'leader\.lr' and 'search\.space\.leader\.lr'; remove one"):
        search(leader__lr=0.1)


def test_searched_settings_are_coordinates_and_the_rest_is_fixed() -> None:
    spec = search()
    assert spec.dims == ("trial", "matrix", "seed")
    assert spec.shape == (14, 2, 2)
    assert spec.searched == ("leader_lr",)
    assert spec.fixed["search.space.leader.lr"] == {"low": 1e-5, "high": 1.0, "log": True}
    assert spec.fixed["search.at_once"] == 2
    assert "search.trials" not in spec.fixed
    assert "leader.lr" not in spec.fixed
    assert "search.at_once" not in search(RANDOM).fixed


@pytest.mark.parametrize(
    ("setting", "trains"), [("leader.lr", False), ("follower.lr", True), ("follower.post_updates", False)]
)
def test_followers_are_trained_once_for_all_trials_they_do_not_depend_on(setting: str, trains: bool) -> None:
    text = SEARCH.replace(", post_updates: 2", "").replace("  start: [{leader.lr: 0.5}]\n", "")
    spec = search(text, search__space=f"{{{setting}: {{low: 1, high: 9}}}}")
    assert ("trial" in spec.follower_dims) == trains
    assert ("trial" in spec.game_dims) is False


def test_run_has_the_values_that_are_tried() -> None:
    spec = search()
    run = spec.run((3, 1, 0), {"leader.lr": 0.25})
    assert (run.leader.lr, run.matrix, run.seed) == (0.25, "battle", 1)
    assert spec.run((0, 0, 0)).leader.lr == 0.5  # the start


def test_room_for_the_largest_value_of_a_searched_size() -> None:
    text = SEARCH.replace("updates: 4, batch", "batch").replace("  start: [{leader.lr: 0.5}]\n", "")
    assert search(text, search__space="{leader.updates: {low: 2, high: 7}}").leader_sizes["iteration"] == 7
    assert search(text, search__space="{follower.updates: {choices: [9, 3]}}").follower_sizes["iteration"] == 9


def test_every_objective_is_a_curve_of_the_store() -> None:
    curves = {variable.name for variable in LEADER_VARIABLES if variable.dims == ("iteration",)}
    assert set(SearchSettings.model_fields["objective"].annotation.__args__) <= curves
