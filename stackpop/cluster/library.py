"""Libraries that own a kind of cluster: whether they are there, and which options their constructors take."""

from __future__ import annotations

import importlib
import inspect
import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from types import ModuleType
from typing import Any

from stackpop.errors import ClusterError, did_you_mean, explain
from stackpop.spec import ClusterSpec


def library(cluster: ClusterSpec, module: str, extra: str) -> ModuleType:
    """A module of an optional library.

    Raises:
        ClusterError: it is not installed.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        got = f"{cluster.settings.kind} without the package {package}"
        remedy = f"pip install 'stackpop[{extra}]', or choose another cluster"
        raise ClusterError(explain(cluster.at("kind"), expected="an installed kind", got=got, remedy=remedy)) from None
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)  # dask_jobqueue takes Ctrl-C for itself when it is imported


def parameters(functions: Iterable[Callable[..., Any]]) -> set[str]:
    """The names of all parameters that can be given by name."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    found = (inspect.signature(function).parameters.values() for function in functions)
    return {each.name for each_of_one in found for each in each_of_one if each.kind in kinds}


def check_options(
    cluster: ClusterSpec, options: Mapping[str, Any], known: Collection[str], ours: Mapping[str, str], owner: str
) -> None:
    """Raises ClusterError for options that `owner` does not take, or that stackpop gives it (name -> what to write)."""
    lines = [_refusal(cluster, name, known, ours, owner) for name in options if name in ours or name not in known]
    if lines:
        raise ClusterError("\n".join(lines))


def _refusal(cluster: ClusterSpec, name: str, known: Collection[str], ours: Mapping[str, str], owner: str) -> str:
    field = cluster.at(f"options.{name}")
    if name in ours:
        return explain(field, expected="an option that is not stackpop's to give", got=repr(name), remedy=ours[name])
    remedy = did_you_mean(name, set(known) - set(ours))
    return explain(field, expected=f"an option of {owner}", got=repr(name), remedy=remedy)


def refused(cluster: ClusterSpec, owner: str, error: Exception) -> ClusterError:
    """A library's own refusal of its options, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    got = text if len(text) <= 300 else f"{text[:297]}..."
    remedy = f"see the documentation of {owner}"
    return ClusterError(explain(cluster.at("options"), expected=f"what {owner} accepts", got=got, remedy=remedy))
