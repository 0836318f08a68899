"""What the README says is what happens: its commands, its library example, its method table."""

from __future__ import annotations

import re
import shlex

import pytest

from gcp.methods import METHODS, SpectralOptions, list_methods
from gcp.options import option_names
from tests.conftest import ROOT
from tests.small import SMALL

README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("python run.py")]
LARGE = ("backbone=resnet50",)  # too slow here: composed by the schema's tests, run by hand


def test_the_set_up_commands_are_those_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    assert ".venv/bin/python -m pytest" in README
    assert ".venv/bin/python -m pytest" in ci
    assert "-e '.[dev]'" in README
    assert "-e '.[dev]'" in ci


def test_the_commands_run(cli, tmp_path):
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        arguments = shlex.split(command)[2:]
        if any(large in arguments for large in LARGE):
            continue
        own = {argument.split("=")[0] for argument in arguments}
        small = [argument for argument in SMALL if argument.split("=")[0] not in own]
        if any(argument.startswith("ckpt_path") for argument in arguments):
            small = ["callbacks.progress_bar=false"]
            arguments = [argument.replace("max_epochs=30", "max_epochs=2") for argument in arguments]
        outcome = cli(*arguments, *([] if "--help" in arguments else small))
        assert outcome.code == 0, (command, outcome.err)


def test_the_library_example_runs():
    example = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    assert len(example.strip().splitlines()) <= 10
    names: dict = {}
    exec(example, names)
    assert names["vector"].shape == (8, 32896)
    assert names["logits"].shape == (2, 200)


@pytest.mark.parametrize("method", list_methods())
def test_the_method_table_has_every_method_and_option(method):
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{method}` |")]
    shared = set(option_names(SpectralOptions))
    for name in set(option_names(METHODS.get(method).options)) - shared:
        assert name in row
    assert all(f"`{name}`" in README for name in shared)
