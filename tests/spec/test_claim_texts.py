"""The claims of a sweep file: what they mean, and what each mistake in them says."""

from __future__ import annotations

import pytest

from stackpop.errors import SpecError
from stackpop.spec import Claim, Quantity, parse_sweep
from stackpop.spec.claims import CURVES, SINGLES
from stackpop.store.schema import GROUND_TRUTH, LEADER_VARIABLES, RUN_VARIABLES
from sweep_texts import problem

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
