"""The command line: parsing and printing only. Heavy imports happen inside the commands."""

from __future__ import annotations

import atexit
import gc
import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from stackpop.errors import FailedRunsError, SpecError, StackpopError, explain

if TYPE_CHECKING:
    from stackpop.spec import SweepSpec
    from stackpop.sweep import RunsPerTask, SweepOptions
    from stackpop.tracking import RunKey, TrackerName

INTERRUPTED, INTERNAL_ERROR = 130, 70
STOPPED = "stopped; what was finished is recorded, the same command goes on from there"
TRACKER_SECONDS = 120  # for one run; a network that went away would hold a replay for ever


app = typer.Typer(
    help="Train populations of Stackelberg leaders and followers, and tell how close each comes to equilibrium.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: every error becomes one line and its exit code; only --debug shows a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as the shell has it for a command in the background
            signal.signal(number, _interrupt)
    if not debug:
        logging.disable()  # Dask tells of every connection that an interruption cuts
        if not sys.warnoptions:  # the user did not ask for any
            warnings.simplefilter("ignore")
            os.environ["PYTHONWARNINGS"] = "ignore"  # also of the processes that this one starts
    try:
        sys.exit(_run([argument for argument in given if argument != "--debug"]))
    except StackpopError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _fail(_usage(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        _fail(f"internal error: {type(error).__name__}: {error}; --debug shows where", INTERNAL_ERROR)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C or a polite kill: stop cleanly; a second one, at once, for the store bears it at any instant."""
    if _importing(frame):  # an exception there makes compiled modules abort; the store bears an end at any instant
        print(f"error: {STOPPED}", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, lambda *_: os._exit(INTERRUPTED))
    signal.default_int_handler(number, frame)


def _importing(frame: FrameType | None) -> bool:
    """Whether a signal met the program in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _run(arguments: Sequence[str]) -> int:
    code = app(arguments, prog_name="stackpop", standalone_mode=False) or 0
    if code == INTERRUPTED:  # typer's own answer to Ctrl-C
        _fail(STOPPED, INTERRUPTED)
    return int(code)


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, in one line."""
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path if context else 'stackpop'} --help`"


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"stackpop {version('stackpop')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    __: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    """Without a command, say what there is."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def sweep(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Sweep files (YAML), run in turn.", show_default=False)
    ],
    store: Annotated[
        str | None, typer.Option(help="Where results go, a path or s3://… (default: results/<sweep name>.zarr).")
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where tasks run, instead of the sweep file's `cluster:` (default: here)."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of the local cluster (default: one a core).")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A running Dask scheduler to use.")] = None,
    scheduler_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The file a scheduler wrote.")] = None,
    dashboard_port: Annotated[
        int | None, typer.Option(help="Port of the local cluster's dashboard (default: 8787, or a free one).")
    ] = None,
    runs_per_task: Annotated[str, typer.Option(metavar="N|auto", help="Runs in one tensor program.")] = "1",
    run_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="A run that takes longer fails (default: no limit)."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and an estimate; train nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed runs again.")] = False,
    track: Annotated[
        Literal["wandb", "tensorboard", "none"] | None,
        typer.Option(help="Log runs there too (default: wandb if WANDB_API_KEY is set, else none)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Run what is missing of a sweep, and print how close its leaders came.

    Running the same command again resumes; a file with more seeds or matrices extends the store.
    """
    from stackpop.spec import load_cluster, load_sweep

    specs = [load_sweep(file, set_ or ()) for file in files]
    if store is not None and len(files) > 1:
        remedy = "leave it out, and each sweep has a store of its own"
        raise SpecError(explain("--store", expected="one sweep file", got=str(len(files)), remedy=remedy))

    from stackpop import display
    from stackpop.cluster import ClusterOptions
    from stackpop.sweep import SweepOptions

    file_name = str(scheduler_file) if scheduler_file else None
    where = ClusterOptions(
        scheduler, file_name, workers, dashboard_port, None if cluster is None else load_cluster(cluster)
    )
    options = SweepOptions(store, _runs_per_task(runs_per_task), retry_failed, where, run_limit)
    if dry_run:
        from stackpop.sweep.estimate import estimate

        for spec in specs:
            display.dry_run(spec, options, estimate(spec, options))
        return
    tracker = _tracker(track)
    missing = [line for spec in specs if (line := _sweep(spec, options, tracker, quiet=quiet))]
    if missing:
        raise FailedRunsError("\n".join(missing))


def _sweep(spec: SweepSpec, options: SweepOptions, tracker: TrackerName | None, *, quiet: bool) -> str:
    """Run one sweep and print its results; returns what is missing in the end, if anything."""
    from stackpop import display
    from stackpop.sweep import execute
    from stackpop.tracking import Tracking

    path = options.store_path(spec)
    with Tracking(path, tracker) as tracking:
        with nullcontext() if quiet else display.sweep_screen(path) as screen:
            progress = execute(spec, options, tracking.telling(screen))
        if not quiet:
            display.results(spec, path)
            if tracker:
                print(f"logging to {tracker}; if you stop it, `stackpop track {path} --to {tracker}` goes on")
        tracked = tracking.finish()
    if tracked and not quiet:
        print(tracked)
    if progress.done == spec.size:
        return ""
    remedy = ", --retry-failed trains them again" if progress.failed else ""
    return (
        f"runs: expected {spec.size:,} done, got {progress.failed:,} failed and {progress.blocked:,} blocked; "
        f"`stackpop status {path}` tells why{remedy}"
    )


def _runs_per_task(text: str) -> RunsPerTask:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    expected, remedy = "a whole number of 1 or more, or auto", "leave it out for one run a task"
    raise SpecError(explain("--runs-per-task", expected=expected, got=repr(text), remedy=remedy))


def _tracker(wanted: Literal["wandb", "tensorboard", "none"] | None) -> TrackerName | None:
    """Where to log; what is not asked for by name may be missing, and then tracking says so and the sweep goes on."""
    if wanted is None:
        on = os.environ.get("WANDB_API_KEY") and os.environ.get("WANDB_MODE") != "disabled"
        return "wandb" if on else None
    if wanted == "none":
        return None
    from stackpop.tracking import check_installed

    check_installed(wanted)
    return wanted


@app.command()
def track(
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    to: Annotated[Literal["wandb", "tensorboard"], typer.Option(help="Where to log its runs.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option(help="For event files and what was logged (default: <store>.tracking).")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Of wandb (default: WANDB_PROJECT, else stackpop).")] = None,
) -> None:
    """Log the runs of a store that have ended, each once; also while the sweep runs.

    WANDB_MODE=offline writes files for `wandb sync`.
    """
    from stackpop.tracking import replay

    def watch_the_clock(run: RunKey) -> None:
        signal.signal(signal.SIGALRM, lambda *_: _give_up(to, run.id))
        signal.alarm(TRACKER_SECONDS)

    try:
        found = replay(store, to, folder=folder, project=project, before_each=watch_the_clock)
    finally:
        signal.alarm(0)
    print(f"tracked: {found['logged']:,} runs logged now, {found['before']:,} before, in {to} {found['where']}")


def _give_up(tracker: str, run: str) -> NoReturn:
    """At once, for whatever hangs would hold up a tidy end as well; a replay bears that at any instant."""
    print(f"error: tracker {tracker}: no answer for {TRACKER_SECONDS} s about run {run}", file=sys.stderr, flush=True)
    os._exit(1)


@app.command()
def status(store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)]) -> None:
    """Tell how far a sweep is, also while it runs."""
    from stackpop import display
    from stackpop.store import count_unfinished, read_progress

    display.status(store, read_progress(store), count_unfinished(store))


@app.command()
def compare(
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    over: Annotated[str, typer.Option(metavar="AXIS", help="The axis whose values are compared, e.g. leader.lr.")],
    variable: Annotated[str, typer.Option(metavar="NAME", help="What is compared.")] = "leader_return",
    window: Annotated[int, typer.Option(help="Updates at the end of a run that are averaged.", min=1)] = 50,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="Only these runs; repeatable, also for several values of an axis."),
    ] = None,
) -> None:
    """Compare settings pair by pair: runs that differ in nothing else, with an interval over seeds."""
    from stackpop import display

    display.compare(store, over, variable, window, _selections(where or ()))


def _selections(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        axis, equals, label = text.partition("=")
        if not equals:
            remedy = "for instance leader.lr=0.008"
            raise SpecError(explain("--where", expected="AXIS=VALUE", got=repr(text), remedy=remedy))
        found.setdefault(axis, []).append(label)
    return found


@app.command()
def claims(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores of sweeps.", show_default=False)],
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page on all of them (Markdown).")] = None,
) -> None:
    """Tell which of a sweep file's claims hold in its store; the exit code is 0 if all do."""
    from stackpop import display
    from stackpop.analysis import read_findings

    findings = [read_findings(store) for store in stores]
    display.claims(findings)
    if write is not None:
        from stackpop.report.markdown import write_page

        write_page(findings, write)
        print(f"written to {write}")
    if any(outcome.status != "held" for found in findings for outcome in found.outcomes):
        raise typer.Exit(1)


@app.command()
def report(
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it goes (default: NAME.html here).")
    ] = None,
) -> None:
    """Write one HTML file on a sweep: what was run, results, figures, failures, claims; it loads nothing.

    It can be read without a network and mailed, and be written while the sweep runs.
    """
    file = output or Path(f"{_store_name(store)}.html")
    with _without_collection():
        from stackpop.report import write_report

        write_report(store, file)
    print(f"written to {file}")


@app.command()
def watch(
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    address: Annotated[
        str,
        typer.Option(help="Where to listen; whoever reaches another address sees the page."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the page; 0 for a free one.", min=0, max=65535)] = 0,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="The least time between two drawings.", min=1)] = 10,
) -> None:
    """Serve the report of a sweep as a page that follows it while it runs, until Ctrl-C."""
    from stackpop.report.live import watch as serve

    serve(store, address, port, every, lambda url: print(f"{store} is shown at {url}; Ctrl-C ends it", flush=True))


@app.command()
def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="curves (leader returns beside the exact values), gap (heat map), convergence (times), "
            "regret (of followers in pretraining), policy (of leaders over training), plane (both players' returns), "
            "compare (two values of --over) or search (what a search tried).",
            show_default=False,
        ),
    ],
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="What it is written to: .html, .png or .svg.")
    ],
    over: Annotated[
        str | None, typer.Option(metavar="AXIS", help="The axis across (gap), or whose values are compared (compare).")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="Only these runs; repeatable, also for several values of an axis."),
    ] = None,
) -> None:
    """Draw a figure of a store, finished or running, as HTML that needs no network, PNG or SVG."""
    with _without_collection():
        from stackpop import figures

        figures.check_file(output)
        with figures.html_only() if output.suffix == ".html" else nullcontext():
            figures.save(figures.draw(kind, figures.Request(store, over, _selections(where or ()))), output)
    print(f"written to {output}")


@app.command()
def export(
    store: Annotated[str, typer.Argument(help="The store of a sweep.", show_default=False)],
    format_: Annotated[
        Literal["csv", "parquet", "netcdf"],
        typer.Option("--format", help="csv and parquet: a row a run; netcdf: everything.", show_default=False),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it goes (default: NAME.FORMAT here).")
    ] = None,
) -> None:
    """Write results for other tools: final values with their coordinates, or the whole dataset."""
    from stackpop.export import ENDINGS
    from stackpop.export import export as write

    file = output or Path(f"{_store_name(store)}{ENDINGS[format_]}")
    write(store, format_, file)
    print(f"written to {file}")


@contextmanager
def _without_collection() -> Iterator[None]:
    """Drawing makes a million small objects that stay; to look through them for garbage takes a quarter of the time.

    At the end of the program, too.
    """
    was = gc.isenabled()
    gc.disable()
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if was:
            gc.enable()


def _store_name(store: str) -> str:
    """The name of a store without its folder or bucket and its ending."""
    return Path(store.rstrip("/")).name.removesuffix(".zarr")


@app.command()
def solve(
    game: Annotated[str, typer.Argument(help='A named game, or payoffs like "3,3 1,4 / 4,1 2,2".', show_default=False)],
    memory: Annotated[Literal["none", "opponent", "joint"], typer.Option(help="What is remembered.")] = "joint",
    rounds: Annotated[int, typer.Option(help="Rounds an episode.", min=1)] = 10,
    reward_offset: Annotated[float, typer.Option(help="Added to every payoff of every round.")] = -2.5,
) -> None:
    """Print a game's exact equilibrium values, an optimal pure commitment and the best response to it.

    In larger games (3x3 with joint memory and 5 rounds) only the pure commitment is found, by walking through every way
    that an episode can go; the values that are left out are named.
    """
    from stackpop import display
    from stackpop.games import Game, parse_payoffs

    if not math.isfinite(reward_offset):
        remedy = "for instance -2.5"
        raise SpecError(explain("--reward-offset", expected="a finite number", got=reward_offset, remedy=remedy))
    display.solution(game, Game(parse_payoffs(game), memory, rounds, reward_offset))


@app.command()
def games() -> None:
    """List the named games with their payoffs."""
    from stackpop import display

    display.games()
