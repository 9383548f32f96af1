"""The named games and what a user may write as payoffs."""

from __future__ import annotations

import json

import pytest

from stackpop.errors import SpecError
from stackpop.games import CANONICAL, MATRICES, check_payoffs, named_payoffs, parse_payoffs

PRISONERS_DILEMMA = (((3.0, 3.0), (1.0, 4.0)), ((4.0, 1.0), (2.0, 2.0)))
# EXPERIMENTS.md section 2, as printed there: cells (0,0), (0,1), (1,0), (1,1), each leader,follower.
TABLE = """\
prisoners_dilemma 3,3 1,4 4,1 2,2
stag_hunt 4,4 1,3 3,1 2,2
assurance 4,4 1,2 2,1 3,3
coordination 4,4 2,1 1,2 3,3
mixedharmony 4,4 3,1 1,3 2,2
harmony 4,4 3,2 2,3 1,1
noconflict 4,4 2,3 3,2 1,1
deadlock 2,2 1,4 4,1 3,3
prisoners_delight 1,1 2,4 4,2 3,3
hero 1,1 3,4 4,3 2,2
battle 2,2 3,4 4,3 1,1
chicken 3,3 2,4 4,2 1,1
modified_prisoners_dilemma 4,3 2,4 3,1 1,2
battle_of_the_sexes 2,1 0,0 0,0 1,2
battle_of_the_sexes_penalised_2 2,0.001 -5,0 -5,0 1,2
battle_of_the_sexes_penalised_1.5 1.5,0.001 -5,0 -5,0 1,2
"""


def test_the_named_games_are_those_of_the_table() -> None:
    printed = {}
    for line in TABLE.splitlines():
        name, *cells = line.split()
        (a, b), (c, d) = cells[:2], cells[2:]
        printed[name] = parse_payoffs(f"{a} {b} / {c} {d}")
    assert dict(MATRICES) == printed
    assert list(CANONICAL) == list(printed)[:12]


@pytest.mark.parametrize(
    "text",
    [
        "prisoners_dilemma",
        "3,3 1,4 / 4,1 2,2",
        " 3,3  1,4/4,1 2,2\n",
        "3.0,3e0 1,4 / 4,1 2,2",
        "[[[3, 3], [1, 4]], [[4, 1], [2, 2]]]",
        " [[[3,3],[1,4]],[[4,1],[2,2.0]]]",
    ],
)
def test_every_way_to_write_a_game_reads_the_same(text: str) -> None:
    assert parse_payoffs(text) == PRISONERS_DILEMMA


def test_payoffs_become_tuples_of_floats() -> None:
    cells = check_payoffs([[[3, 3.0], (1, 4)], ((4, 1), [2, 2])])
    assert cells == PRISONERS_DILEMMA
    assert {type(number) for row in cells for cell in row for number in cell} == {float}


def test_payoffs_need_not_be_square() -> None:
    assert parse_payoffs("1,2 3,4 5,6") == (((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)),)
    assert parse_payoffs("1,2 / 3,4 / 5,6") == (((1.0, 2.0),), ((3.0, 4.0),), ((5.0, 6.0),))


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        (7, "payoffs", "rows of cells"),
        ("3,3", "payoffs", "rows of cells"),
        ([], "payoffs", "rows of cells"),
        ([1, 2], "payoffs[0]", "rows of cells"),
        ([[]], "payoffs[0]", "rows of cells"),
        ([[[1, 2]], []], "payoffs[1]", "rows of cells"),
        ([[1, 2], [3, 4]], "payoffs[0][0]", "rows of cells"),
        ([[[1, 2], [3]]], "payoffs[0][1]", "two numbers"),
        ([[[1, 2, 3]]], "payoffs[0][0]", "two numbers"),
        ([[[1, 2], [3, 4]], [[5, 6]]], "payoffs[1]", "2 columns"),
        ([[[1, "2"]]], "payoffs[0][0][1]", "a number"),
        ([[[True, 2]]], "payoffs[0][0][0]", "a number"),
        ([[[None, 2]]], "payoffs[0][0][0]", "a number"),
        ([[[1, float("nan")]]], "payoffs[0][0][1]", "a finite number"),
        ([[[float("-inf"), 1]]], "payoffs[0][0][0]", "a finite number"),
        ([[[10**400, 1]]], "payoffs[0][0][0]", "a finite number"),
    ],
)
def test_wrong_payoffs_are_refused_with_their_place(value: object, field: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_payoffs(value)
    assert str(caught.value).startswith(f"{field}: expected {expected}")


def test_the_place_starts_with_the_name_the_caller_gives() -> None:
    with pytest.raises(SpecError, match=r"^payoffs\.mine\[0\]\[0\]: expected two numbers"):
        check_payoffs([[[1]]], field="payoffs.mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prisoners_dilema", r"matrix: .*got 'prisoners_dilema'; did you mean 'prisoners_dilemma'\?"),
        ("", r"matrix: expected a known game, got ''; known: assurance, battle"),
        ("3,3 1,4 / 4,1", r"payoffs\[1\]: expected 2 columns as in the first row, got 1"),
        ("3,3 1,4 /", r"payoffs\[1\]: expected rows of cells"),
        ("3,3 1,x", r"payoffs\[0\]\[1\]\[1\]: expected a number, got 'x'"),
        ("3, 3", r"payoffs\[0\]\[0\]\[1\]: expected a number, got ''"),
        ("3,3,3", r"payoffs\[0\]\[0\]: expected two numbers.*got 3"),
        ("1,nan", r"payoffs\[0\]\[0\]\[1\]: expected a finite number, got nan"),
        ("[[[1,2]]", r"payoffs: expected nested lists of numbers, got '\[\[\[1,2\]\]' \(.*char"),
        ("[[[1,NaN]]]", r"payoffs\[0\]\[0\]\[1\]: expected a finite number, got nan"),
        (f"[[[1,{'9' * 400}]]]", r"payoffs\[0\]\[0\]\[1\]: expected a finite number"),
        (f"[[[1,{'9' * 5000}]]]", r"payoffs: expected nested lists of numbers"),
        ("[" * 100_000, r"payoffs: expected nested lists of numbers"),
        ("[3, 3]", r"payoffs\[0\]: expected rows of cells"),
    ],
)
def test_wrong_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        parse_payoffs(text)


@pytest.mark.parametrize("name", MATRICES)
def test_names_and_nested_lists_lead_to_the_same_payoffs(name: str) -> None:
    assert parse_payoffs(name) == named_payoffs(name) == parse_payoffs(json.dumps(MATRICES[name]))
