"""Imports point one way, and heavy ones stay where they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "stackpop"

# Each part may import the parts that stand before it in its row, and nothing else of stackpop.
ALLOWED = {
    "errors": set(),
    "settings": set(),
    "arrays": set(),
    "devices": {"errors"},
    "results": set(),
    "provenance": set(),
    "games": {"errors", "settings", "arrays"},
    "equilibria": {"errors", "settings", "games"},
    "learners": {
        "errors",
        "settings",
        "arrays",
        "games",
        "equilibria",
    },  # equilibria for the exact oracle, and for it alone
    "spec": {"errors", "settings", "devices", "games", "equilibria", "learners"},
    "evaluation": {"arrays", "games", "equilibria"},
    "training": {"errors", "arrays", "devices", "games", "equilibria", "learners", "spec", "evaluation", "results"},
    "store": {"errors", "spec", "results", "provenance"},
    "cluster": {"errors", "devices", "spec", "provenance"},
    "sweep": {
        "errors",
        "devices",
        "games",
        "equilibria",
        "learners",
        "spec",
        "training",
        "results",
        "store",
        "cluster",
    },
    "wording": {"store"},
    "analysis": {"errors", "games", "spec", "store", "equilibria"},
    "tracking": {"errors", "spec", "store", "sweep"},
    "figures": {"errors", "games", "store", "analysis"},
    "export": {"errors", "store", "analysis"},
    "display": {"errors", "games", "equilibria", "spec", "store", "sweep", "wording", "analysis"},
    "report": {"errors", "spec", "store", "wording", "analysis", "figures"},
    "cli": {
        "errors",
        "games",
        "spec",
        "store",
        "cluster",
        "sweep",
        "analysis",
        "display",
        "figures",
        "report",
        "export",
        "tracking",
    },
    "__init__": {"errors", "games", "equilibria", "spec", "store", "sweep"},
    "__main__": {"cli"},
}
ONLY_IN = {
    "distributed": {"cluster", "sweep"},
    "dask": {"cluster", "sweep"},
    "holoviews": {"figures"},
    "bokeh": {"cluster", "figures"},
    "matplotlib": {"figures"},
    "jinja2": {"report"},
    "panel": {"report"},
    "zarr": {"store"},
    "obstore": {"store"},
    "ruamel": {"spec"},
    "typer": {"cli"},
    "rich": {"display"},
    "gymnasium": {"games"},
    "tensorboard": {"tracking"},
    "wandb": {"tracking"},
    "optuna": {"sweep"},
    "dask_jobqueue": {"cluster"},
    "dask_kubernetes": {"cluster"},
}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("stackpop.")}
    assert used - {part} <= ALLOWED[part]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_stay_where_they_belong(path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        assert part_of(path) in ONLY_IN.get(library, {part_of(path)}), f"{library} in {path}"


def test_learning_never_sees_the_solver() -> None:
    seeing = {path.name for path in (PACKAGE / "learners").rglob("*.py") if "equilibria" in str(imports(path))}
    assert seeing == {"exact.py"}


def test_every_part_is_listed() -> None:
    assert {part_of(path) for path in FILES} == set(ALLOWED)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, stackpop.cli; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "numpy", "xarray", "zarr", "dask", "distributed", "scipy", "pydantic"} & set(loaded)
