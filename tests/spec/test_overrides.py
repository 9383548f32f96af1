"""Settings of a sweep file that are given beside it."""

from __future__ import annotations

import pytest

from stackpop.spec import parse_sweep
from sweep_texts import problem


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
