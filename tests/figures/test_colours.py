"""Colours that all eyes tell apart, one for a game."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from drawn import labelled, panels
from stackpop.figures import PALETTE, game_colour, learning_curves
from stackpop.games import CANONICAL

# Machado, Oliveira & Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009), for a
# severity of 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as an eye sees it."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.clip(seen @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    scaled = to_xyz @ linear / [0.95047, 1, 1.08883]
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_the_twelve_games_have_colours_that_all_eyes_tell_apart(vision: str) -> None:
    seen = {name: lab(game_colour(name), VISION[vision]) for name in CANONICAL}
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen.values(), 2)) > 25
    assert max(colour[0] for colour in seen.values()) < 80  # on white


def test_a_game_has_one_colour_wherever_it_is(results: xr.Dataset) -> None:
    assert game_colour("chicken") != game_colour("battle")
    assert game_colour("my own") in PALETTE
    shown = panels(learning_curves(results.isel(leader_lr=0)))
    one = panels(learning_curves(results.isel(matrix=1, leader_lr=0)))
    for panel, name in zip([*shown, *one], ["chicken", "battle", "battle"], strict=True):
        assert labelled(panel, "stochastic").opts.get("style", backend="bokeh").kwargs["color"] == game_colour(name)
