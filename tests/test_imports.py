"""Imports point one way: no circle between files, none between packages, and no package reaches up."""

from __future__ import annotations

import ast
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gcp", "datamodules", "lightning_modules", "conf")
# What each may import of the others: the library knows nobody, run.py wires.
ALLOWED = {
    "gcp": set(),
    "datamodules": {"gcp"},
    "lightning_modules": {"gcp", "datamodules"},
    "conf": {"gcp", "datamodules", "lightning_modules"},
}


def modules() -> dict[str, Path]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + [ROOT / "run.py"]
    named = {path: path.relative_to(ROOT).with_suffix("").parts for path in paths}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in named.items()}


def imported_by(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours a file imports anywhere, in its functions and for its types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found & set(known)


def graph(place: Callable[[str], str]) -> dict[str, set[str]]:
    """Who imports whom, modules standing for the ``place`` they are in."""
    known = modules()
    edges: dict[str, set[str]] = {}
    for name, path in known.items():
        edges.setdefault(place(name), set()).update(place(other) for other in imported_by(path, known))
    return {name: others - {name} for name, others in edges.items()}


def sub_package(module: str) -> str:
    """``gcp.spectral`` of ``gcp.spectral.function``; a file beside the sub-packages stands for itself."""
    parts = module.split(".")
    return ".".join(parts[:2])


@pytest.mark.parametrize(
    "place", [str, sub_package, lambda module: module.split(".")[0]], ids=["file", "sub-package", "package"]
)
def test_no_circle(place):
    try:
        TopologicalSorter(graph(place)).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_do_not_reach_up(package):
    top = graph(lambda module: module.split(".")[0])
    assert top[package] <= ALLOWED[package]


def test_the_graph_sees_a_circle(tmp_path):
    known = {"gcp.a": tmp_path / "a.py"}
    known["gcp.a"].write_text("def f():\n    from gcp import a\n    import gcp.a as again\n")
    assert imported_by(known["gcp.a"], known) == {"gcp.a"}
