"""Comparisons and claims, as the command prints and writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stackpop as package
from answers import CLAIMS, RATES, Call, check_mistake, row_of, write_results
from stackpop.results import TrainingResult
from stackpop.spec import parse_sweep
from stackpop.store import ResultsWriter


def test_compare_prints_each_setting_and_the_pool(call: Call, rated: Path) -> None:
    answer = call("compare", rated, "--over", "leader.lr")
    assert (answer.code, answer.err) == (0, "")
    pair = ["0.1", "−", "0.2"]
    assert row_of(answer, *pair, "chicken") == ["200.00", "201.00", "-1.00", "[-1.00,", "-1.00]", "5/5", "yes"]
    assert row_of(answer, *pair, "all") == ["205.00", "206.00", "-1.00", "[-1.00,", "-1.00]", "10/10", "yes"]
    assert "leader_return, mean over the last 50 updates" in answer.out
    assert "5 seeds; each row stands alone" in answer.out


def test_compare_some_runs_of_another_variable(call: Call, rated: Path) -> None:
    chosen = ["--where", "leader_lr=0.2", "--where", "seed=2", "--where", "seed=5", "--where", "seed=1"]
    answer = call("compare", rated, "--over", "matrix", "--variable", "equilibrium_gap", "--window", 1, *chosen)
    assert row_of(answer, "chicken", "−", "battle") == [
        "167.67",
        "177.67",
        "-10.00",
        "[-10.00,",
        "-10.00]",
        "3/3",
        "yes",
    ]
    assert "all" not in answer.out.split()
    one = call("compare", rated, "--over", "matrix", "--variable", "equilibrium_pure", "--where", "seed=2")
    assert row_of(one, "chicken", "−", "battle", "0.1")[-1] == "-"
    assert "no interval" in one.out
    assert "updates" not in one.out


def test_compare_counts_what_is_left_out(call: Call, folder: Path) -> None:
    spec = parse_sweep(RATES, "part")
    with ResultsWriter("part.zarr", spec) as writer:
        for index in spec.indices():
            if index != (1, 0, 2):
                writer.leaders.record(index, TrainingResult({"leader_return": np.ones(4)}))
    answer = call("compare", "part.zarr", "--over", "leader.lr")
    assert row_of(answer, "0.1", "−", "0.2", "chicken")[-2:] == ["4/5", "no"]
    assert "1 pair left out: not both runs are done" in answer.out


def test_claims_that_do_not_all_hold_end_in_exit_code_1(call: Call, rated: Path) -> None:
    answer = call("claims", rated)
    assert (answer.code, answer.err) == (1, "")
    held = row_of(answer, "A", "higher", "rate", "earns", "more.")
    assert held == ["206.00", "205.00", "1.00", "[1.00,", "1.00]", "10/10", "held"]
    assert row_of(answer, "No", "game", "is", "better", "than", "chicken.")[-2:] == ["not", "held"]
    assert "(Ours differ in payoffs.)" in answer.out


def test_claims_that_hold_end_in_exit_code_0(call: Call, folder: Path) -> None:
    spec = parse_sweep(RATES + CLAIMS.partition("  - text: No game")[0], "good")
    write_results(spec, folder / "good.zarr", lambda at: at[0])
    write_results(parse_sweep(RATES, "mute"), folder / "mute.zarr", lambda at: at[0])
    answer = call("claims", "good.zarr", "mute.zarr")
    assert answer.code == 0
    assert "mute: no claims; a sweep file lists them under `claims:`" in answer.out


def test_a_claim_may_change_on_a_finished_store_and_the_sweep_tells_its_outcome(call: Call, folder: Path) -> None:
    (folder / "rates.yaml").write_text(RATES)
    write_results(package.load_sweep("rates.yaml"), folder / "s.zarr", lambda at: at[0])
    for text, outcome in ((CLAIMS, "held"), (CLAIMS.replace("greater", "less"), "not held")):
        (folder / "rates.yaml").write_text(RATES + text)
        answer = call("sweep", "rates.yaml", "--store", "s.zarr")
        assert (answer.code, answer.err) == (0, "")
        assert "20 already done, 0 to train" in answer.out
        assert " ".join(row_of(answer, "A", "higher", "rate", "earns", "more.")[6:]) == outcome
        (first, _) = call("claims", "s.zarr").out.split("No game")
        assert first.rstrip().endswith(outcome)
    (folder / "rates.yaml").write_text(RATES)
    assert "claims" not in call("sweep", "rates.yaml", "--store", "s.zarr").out


def test_claims_of_a_store_are_those_of_its_sweep_and_of_its_runs(call: Call, folder: Path) -> None:
    """A store may hold more than the last file asked for."""
    write_results(parse_sweep(RATES + CLAIMS, "s"), folder / "s.zarr", lambda at: at[0])
    fewer = parse_sweep(RATES + CLAIMS, "s", ["axes.seed=[1, 2]"])
    with ResultsWriter("s.zarr", fewer):
        pass
    assert row_of(call("claims", "s.zarr"), "A", "higher", "rate", "earns", "more.")[5:] == [
        "4/4", "open:", "2", "of", "5", "seeds",
    ]  # fmt: skip


def test_claims_write_a_page(call: Call, rated: Path, folder: Path) -> None:
    answer = call("claims", rated, "--write", "pages/README.md")
    assert answer.code == 1
    assert answer.out.rstrip().endswith("written to pages/README.md")
    assert sorted(path.name for path in (folder / "pages").iterdir()) == ["README.md", "rated.png"]


def test_a_mistake_of_a_comparison_or_a_page_is_one_line(call: Call, rated: Path) -> None:
    compare = ["compare", rated, "--over"]
    check_mistake(call(*compare, "leader.rl"), "over", "'leader.rl'", "did you mean 'leader_lr'?")
    check_mistake(call(*compare, "matrix", "--variable", "leader_retrun"), "variable", "did you mean 'leader_return'?")
    check_mistake(call(*compare, "matrix", "--where", "leader.lr"), "--where", "AXIS=VALUE", "leader.lr=0.008")
    check_mistake(call(*compare, "matrix", "--where", "leader.lr=3"), "where", "leader.lr", "'3'", "known: 0.1, 0.2")
    check_mistake(call(*compare, "matrix", "--where", "matrix=battle"), "over", "two values of matrix", "got one")
    check_mistake(call(*compare, "matrix", "--window", 0), "--window")
    check_mistake(call("compare", rated), "--over", "compare --help")
    check_mistake(call("compare", "none.zarr", "--over", "seed"), "none.zarr", "expected a store")
    check_mistake(call("claims"), "STORE", "claims --help")
    check_mistake(call("claims", rated, "--write", "tiny.yaml/README.md"), "a file to write", "name another")
