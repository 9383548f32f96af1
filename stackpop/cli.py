"""The command line: parsing and printing only. Heavy imports happen inside the commands."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from stackpop.errors import SpecError, StackpopError, explain

if TYPE_CHECKING:
    from stackpop.sweep import RunsPerTask

FAILED_RUNS, INTERRUPTED, INTERNAL_ERROR = 1, 130, 70

app = typer.Typer(
    help="Train populations of Stackelberg leaders and followers, and tell how close each comes to equilibrium.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Entry point: a StackpopError becomes one line and its exit code; only --debug shows a traceback."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops as cleanly as Ctrl-C
    try:
        app(arguments)
    except StackpopError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        _fail("stopped; what was finished is in the store, run the same command again to resume", INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        _fail(f"internal error: {type(error).__name__}: {error}; --debug shows where", INTERNAL_ERROR)
    raise AssertionError("typer ends the process")


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"stackpop {version('stackpop')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    __: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    pass


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep file (YAML).", show_default=False)],
    store: Annotated[Path | None, typer.Option(help="Where results go. [default: results/<sweep name>.zarr]")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes of the local cluster. [default: cores]")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A running Dask scheduler to use.")] = None,
    scheduler_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The file a scheduler wrote.")] = None,
    dashboard_port: Annotated[
        int | None, typer.Option(help="Port of the local cluster's dashboard. [default: 8787, or a free one]")
    ] = None,
    runs_per_task: Annotated[str, typer.Option(metavar="N|auto", help="Runs in one tensor program.")] = "1",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and an estimate; train nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed runs again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Run what is missing of a sweep, and print how close its leaders came.

    Running the same command again resumes; a file with more seeds or matrices extends the store.
    """
    from stackpop.spec import load_sweep

    spec = load_sweep(file, set_ or ())

    from stackpop import display
    from stackpop.cluster import ClusterOptions
    from stackpop.sweep import SweepOptions, execute

    file_name = str(scheduler_file) if scheduler_file else None
    cluster = ClusterOptions(scheduler, file_name, workers, dashboard_port)
    options = SweepOptions(store, _runs_per_task(runs_per_task), retry_failed, cluster)
    if dry_run:
        from stackpop.sweep.estimate import estimate

        display.dry_run(spec, options, estimate(spec, options))
        return
    with display.sweep_screen(options.store_path(spec), quiet=quiet) as screen:
        progress = execute(spec, options, announce=screen.announce, report=screen.report)
    if not quiet:
        display.results(spec, options.store_path(spec))
    if progress.done < spec.size:
        raise typer.Exit(FAILED_RUNS)


def _runs_per_task(text: str) -> RunsPerTask:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise SpecError(explain("--runs-per-task", expected="a whole number of 1 or more, or auto", got=repr(text)))


@app.command()
def status(store: Annotated[Path, typer.Argument(help="The store of a sweep.", show_default=False)]) -> None:
    """Tell how far a sweep is, also while it runs."""
    from stackpop import display
    from stackpop.store import read_progress

    display.status(store, read_progress(store))


@app.command()
def solve(
    game: Annotated[str, typer.Argument(help='A named game, or payoffs like "3,3 1,4 / 4,1 2,2".', show_default=False)],
    memory: Annotated[Literal["none", "opponent", "joint"], typer.Option(help="What is remembered.")] = "joint",
    rounds: Annotated[int, typer.Option(help="Rounds an episode.", min=1)] = 10,
    reward_offset: Annotated[float, typer.Option(help="Added to every payoff of every round.")] = -2.5,
) -> None:
    """Print a game's exact equilibrium values and an optimal commitment."""
    from stackpop import display
    from stackpop.games import Game, parse_payoffs

    if not math.isfinite(reward_offset):
        raise SpecError(explain("--reward-offset", expected="a finite number", got=reward_offset))
    display.solution(game, Game(parse_payoffs(game), memory, rounds, reward_offset))


@app.command()
def games() -> None:
    """List the named games with their payoffs."""
    from stackpop import display

    display.games()
