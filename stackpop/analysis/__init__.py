"""From a results dataset to answers: how close the leaders came, how soon, how surely, and what they learned.

Plain functions of xarray. Lazy results are read block by block; runs that are not done are missing, and are counted.

- How close: `summary`, `converged`, `share_converged`, `final`, `normalised`, `curve`; `best_trials` of a search.
- How soon: `convergence_time`, `steps_to_share`, `gap_area`, `steps_to_equilibrium`; `pretraining_steps` of the
  followers, which `with_pretraining` and `open_sweep` put beside the runs.
- How surely: `bootstrap_interval`, `aggregate` (mean, median, interquartile mean), `performance_profile`,
  `probability_of_improvement`.
- What makes a difference: `compare`, and `check_claims` and `read_findings` for the claims of a sweep file.
- What was learned: `learned_tables`, `table_values`, `run_tables`, `equilibrium_distance`; `strategy_name`.
- What could be: `games_of` (which games the runs played), `table_pairs` (what both players of a game can earn) and
  `state_names`.
- Parts of results: `select`, `of_sweep`, `run_value`, `run_values`.
"""

from stackpop.analysis.claims import LEAST_SEEDS, Findings, Outcome, check_claims, read_findings
from stackpop.analysis.convergence import (
    convergence_time,
    gap_area,
    pretraining_steps,
    share_converged,
    steps_to_share,
)
from stackpop.analysis.curves import curve, normalised
from stackpop.analysis.efficiency import open_sweep, steps_to_equilibrium, with_pretraining
from stackpop.analysis.finals import TOLERANCE, WINDOW, best_trials, converged, final, summary
from stackpop.analysis.intervals import (
    aggregate,
    bootstrap_interval,
    performance_profile,
    probability_of_improvement,
)
from stackpop.analysis.learned import equilibrium_distance, learned_tables, run_tables, table_values
from stackpop.analysis.paired import compare, run_value, run_values
from stackpop.analysis.pairs import state_names, table_pairs
from stackpop.analysis.played import games_of
from stackpop.analysis.selection import of_sweep, select
from stackpop.analysis.strategies import strategy_name

__all__ = [
    "LEAST_SEEDS",
    "TOLERANCE",
    "WINDOW",
    "Findings",
    "Outcome",
    "aggregate",
    "best_trials",
    "bootstrap_interval",
    "check_claims",
    "compare",
    "converged",
    "convergence_time",
    "curve",
    "equilibrium_distance",
    "final",
    "games_of",
    "gap_area",
    "learned_tables",
    "normalised",
    "of_sweep",
    "open_sweep",
    "performance_profile",
    "pretraining_steps",
    "probability_of_improvement",
    "read_findings",
    "run_tables",
    "run_value",
    "run_values",
    "select",
    "share_converged",
    "state_names",
    "steps_to_equilibrium",
    "steps_to_share",
    "strategy_name",
    "summary",
    "table_pairs",
    "table_values",
    "with_pretraining",
]
