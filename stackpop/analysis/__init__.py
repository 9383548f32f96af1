"""From a results dataset to answers: how close the leaders came, what makes a difference, which claims hold.

Plain functions of xarray; lazy results are read block by block.
"""

from stackpop.analysis.claims import LEAST_SEEDS, Findings, Outcome, check_claims, read_findings
from stackpop.analysis.efficiency import open_sweep, steps_to_equilibrium, with_pretraining
from stackpop.analysis.finals import TOLERANCE, WINDOW, best_trials, bootstrap_interval, converged, final, summary
from stackpop.analysis.paired import compare, run_values
from stackpop.analysis.selection import of_sweep, select

__all__ = [
    "LEAST_SEEDS",
    "TOLERANCE",
    "WINDOW",
    "Findings",
    "Outcome",
    "best_trials",
    "bootstrap_interval",
    "check_claims",
    "compare",
    "converged",
    "final",
    "of_sweep",
    "open_sweep",
    "read_findings",
    "run_values",
    "select",
    "steps_to_equilibrium",
    "summary",
    "with_pretraining",
]
