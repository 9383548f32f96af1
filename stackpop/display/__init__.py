"""What the command line prints: the plan, live progress, and tables. All numbers come from elsewhere."""

from stackpop.display.comparison import compare
from stackpop.display.progress import dry_run, progress_text, sweep_screen
from stackpop.display.solutions import games, solution
from stackpop.display.tables import claims, results, status

__all__ = ["claims", "compare", "dry_run", "games", "progress_text", "results", "solution", "status", "sweep_screen"]
