"""A metric's name is written in one place."""

from __future__ import annotations

import ast
import re

import yaml

from lightning_modules import metric_names as names
from tests.conftest import ROOT

OWN = ROOT / "lightning_modules" / "metric_names.py"
FILES = [
    ROOT / "run.py",
    *(
        path
        for folder in ("lightning_modules", "datamodules", "conf", "benchmarks")
        for path in ROOT.glob(f"{folder}/**/*.py")
    ),
]
NAMES = {
    value for value in vars(names).values() if isinstance(value, str) and re.fullmatch(r"[a-z_]+(/[a-z0-9_]+)+", value)
}
NAMES |= {names.of(stage, metric) for stage in names.STAGES for metric in names.RESULTS}
# Parts of f-strings that make one: f"{stage}/loss", f"spectrum/{name}".
END = re.compile(rf"^/({'|'.join(names.RESULTS)})")
BEGINNING = re.compile(r"(^|\s)(spectrum|grad|time|switch|best|final|swa|early_stopping|test_final|val)/$")


def texts(source: str) -> list[str]:
    """The strings of a module and the parts of its f-strings, without docstrings."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return [node.value for node in constants if isinstance(node.value, str)]


def metrics_in(source: str) -> list[str]:
    return [
        text
        for text in texts(source)
        if any(re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", text) for name in NAMES)
        or text in (names.ACCURACY, names.ACCURACY_5)
        or END.search(text)
        or BEGINNING.search(text)
    ]


def test_no_other_file_spells_a_metric():
    found = {str(path.relative_to(ROOT)): metrics_in(path.read_text()) for path in FILES if path != OWN}
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_what_it_looks_for_is_found():
    for source in ('"val/acc1"', 'f"{stage}/loss"', 'f"spectrum/{name}"', '["acc5"]', 'f"{x} by test/loss of all"'):
        assert metrics_in(f"x = {source}"), source
    assert not metrics_in('"""val/acc1 in a docstring"""\nfolder = "val/images"\nf"{loss}"')


def test_the_sweep_of_wandb_follows_a_metric_there_is():
    sweep = yaml.safe_load((ROOT / "conf" / "wandb_sweep.yaml").read_text())
    assert sweep["metric"]["name"] in names.MONITORED
