"""What the README says is what happens: its commands, its library example, its method table."""

from __future__ import annotations

import re
import shlex

import pytest
import torch
from PIL import Image

import gcp
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS, SpectralOptions, list_methods
from gcp.options import option_names
from tests.conftest import ROOT
from tests.datamodules import fabricate
from tests.small import SMALL

README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("python run.py")]
# Too slow here; what they do is tested elsewhere.
LARGE = ("backbone=resnet50", "recipe=cub_resnet50_pade", "recipe=solar_lite0_pade", "trainer=ddp_cpu", "mode=analyze")
PUBLISHED = [command for command in COMMANDS if ".pth.tar" in command]
# Small models in the place of large ones.
SMALLER = {
    "backbone=resnet50": "backbone=tiny",
    "backbone.model=convnext_tiny": "backbone.model=test_convnext",
    "seed=0,1,2": "seed=0",
}


def test_the_set_up_commands_are_those_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    assert ".venv/bin/python -m pytest" in README
    assert ".venv/bin/python -m pytest" in ci
    assert "-e '.[dev]'" in README
    assert "-e '.[dev]'" in ci


def test_the_commands_run(cli, tmp_path):
    assert len(COMMANDS) >= 8
    (tmp_path / "pictures").mkdir()  # the folder of the reader's own that mode=predict is shown
    Image.new("L", (8, 8)).save(tmp_path / "pictures/black.png")
    fabricate.cub(tmp_path / "birds")
    for command in COMMANDS:
        arguments = shlex.split(command)[2:]
        if any(large in arguments for large in LARGE):
            continue
        arguments = [SMALLER.get(argument, argument) for argument in arguments]
        if "backbone=timm" in arguments:
            arguments.append("data.image_size=64")
        if any("birds" in argument for argument in arguments):
            arguments.append("data.check=off")  # the copy is small
        own = {argument.split("=")[0] for argument in arguments}
        small = [argument for argument in SMALL if argument.split("=")[0] not in own]
        if "backbone=timm" in arguments:
            small.remove("backbone.width=8")
        if any(argument.startswith("ckpt_path") for argument in arguments):
            small = ["callbacks.progress_bar=false"]
            arguments = [argument.replace("max_epochs=30", "max_epochs=2") for argument in arguments]
        outcome = cli(*arguments, *([] if "--help" in arguments else small))
        assert outcome.code == 0, (command, outcome.err)


def test_the_commands_for_published_checkpoints_run(cli, tmp_path):
    """With a small network in the place of ResNet-50, and a file of that network under the published name."""
    assert len(PUBLISHED) == 3
    model = gcp.create_model("tiny", "pade", num_classes=10, backbone_options={"width": 8})
    for command in PUBLISHED:
        arguments = [SMALLER.get(argument, argument) for argument in shlex.split(command)[2:]]
        (file,) = [argument.removeprefix("ckpt_path=") for argument in arguments if argument.startswith("ckpt_path=")]
        torch.save({"state_dict": model.state_dict()}, tmp_path / file)
        assert cli(*arguments, *SMALL).code == 0, command


@pytest.mark.parametrize("name", gcp.list_backbones())
def test_the_backbone_table_has_every_backbone(name):
    family = name.removesuffix("_bn")
    rows = [line for line in README.splitlines() if line.startswith("| `") and f"`{family}`" in line.split("|")[1]]
    assert len(rows) == 1
    assert "_bn" in rows[0] or not name.endswith("_bn")
    for option in option_names(BACKBONES.get(name).options):
        assert option in ("frozen", "whitening") or f"`{option}" in rows[0]
    assert "beside `frozen`, `whitening` and `hidden`" in README


def test_the_library_example_runs():
    example = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    assert len(example.strip().splitlines()) <= 10
    names: dict = {}
    exec(example, names)
    assert names["vector"].shape == (8, 32896)
    assert names["logits"].shape == (2, 200)


def test_the_examples_of_the_page_on_inputs_run():
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/inputs.md").read_text(), re.S)
    assert len(examples) >= 4
    exec("".join(examples), {})


@pytest.mark.parametrize("method", list_methods())
def test_the_method_table_has_every_method_and_option(method):
    rows = [line for line in README.splitlines() if line.startswith(f"| `{method}` |")]
    if not rows and "arXiv" not in METHODS.get(method).source:
        pytest.skip(f"'{method}' is not of the literature, which is what the table holds")
    (row,) = rows
    shared = set(option_names(SpectralOptions))
    for name in set(option_names(METHODS.get(method).options)) - shared:
        assert name in row
    assert all(f"`{name}`" in README for name in shared)
