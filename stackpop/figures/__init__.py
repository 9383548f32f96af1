"""Figures of results: each function takes a dataset of `open_results` and returns a HoloViews object.

- How close: `learning_curves` beside the exact values, `gap_map`. How soon: `convergence_times`.
- What was learned: `leader_policy`, `payoff_plane`; by the followers: `follower_regret`.
- What makes a difference: `comparison` of two values of an axis, `searched_values` of a search.

`save` writes one as HTML that needs no network, as PNG or as SVG. Every game has the same colour in all of them. A
notebook shows them after `holoviews.extension("bokeh")` or `import hvplot.xarray`.
"""

from stackpop.figures.comparison import comparison
from stackpop.figures.convergence import convergence_times
from stackpop.figures.curves import follower_regret, learning_curves
from stackpop.figures.files import POLICY, check_file, embedded, library, save
from stackpop.figures.heat import gap_map, leader_policy
from stackpop.figures.kinds import KINDS, Request, draw
from stackpop.figures.parts import MOST_PANELS
from stackpop.figures.plane import payoff_plane
from stackpop.figures.search import searched_values
from stackpop.figures.style import PALETTE, game_colour, html_only

__all__ = [
    "KINDS",
    "MOST_PANELS",
    "PALETTE",
    "POLICY",
    "Request",
    "check_file",
    "comparison",
    "convergence_times",
    "draw",
    "embedded",
    "follower_regret",
    "game_colour",
    "gap_map",
    "html_only",
    "leader_policy",
    "learning_curves",
    "library",
    "payoff_plane",
    "save",
    "searched_values",
]
