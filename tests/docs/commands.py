"""The commands of the README and of the pages of docs/, made small, and what they need beside them."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

import gcp
from tests.conftest import ROOT
from tests.datamodules import fabricate
from tests.small import SMALL

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# Too slow here; what they do is tested elsewhere.
LARGE = (
    "recipe=cub_resnet50_pade", "recipe=solar_lite0_pade", "trainer=ddp_cpu", "mode=analyze",
    "sweep=search", "data.root=ethz/food101",
)  # fmt: skip
# Small models in the place of large ones, of large sizes and of many seeds and methods.
SMALLER = {
    "backbone=resnet50": "backbone=tiny",
    "backbone=resnet18": "backbone=tiny",
    "backbone.model=convnext_tiny": "backbone.model=test_convnext",
    "method.reduced_channels=32": "method.reduced_channels=4",
    "seed=0,1,2": "seed=0",
    "trainer.max_epochs=30": "trainer.max_epochs=2",
    "trainer.max_epochs=60": "trainer.max_epochs=1",
}
# The recipe itself is run from its own page.
IN_README = {"recipe=own_images": "dataset=folder"}


def commands(page: Path) -> list[str]:
    """The commands in the blocks of a page, without comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("python run.py")]


def small(command: str, page: Path) -> list[str] | None:
    """Arguments that do the same in a second; None: it is too large, or is run from the README."""
    arguments = shlex.split(command)[2:]
    if any(large in arguments for large in LARGE) or (page != README and command in commands(README)):
        return None
    smaller = SMALLER | IN_README if page == README else SMALLER
    arguments = [smaller.get(argument, argument) for argument in arguments]
    if "--help" in arguments:
        return arguments
    if "data.root=birds" in arguments or "data.root=photos" in arguments:
        arguments.append("data.check=off")  # the copies are small
    if any(argument.startswith("ckpt_path") and ".pth.tar" not in argument for argument in arguments):
        return [*arguments, "callbacks.progress_bar=false"]
    if "backbone=timm" in arguments or "recipe=own_images" in arguments:
        arguments.append("data.image_size=64")
    set_already = {argument.split("=")[0] for argument in arguments}
    if {"backbone=timm", "recipe=own_images", "backbone=patches"} & {*arguments}:
        set_already.add("backbone.width")
    return [*arguments, *(each for each in SMALL if each.split("=")[0] not in set_already)]


def prepare(page: Path, folder: Path, cli: Callable[..., object]) -> None:
    """What the reader of the page has in their working directory: pictures, data, plugins, a checkpoint, a run."""
    text = "\n".join(commands(page))
    if "data.path=pictures" in text:
        (folder / "pictures").mkdir()
        Image.new("L", (8, 8)).save(folder / "pictures/black.png")
    if "data.root=birds" in text:
        fabricate.cub(folder / "birds")
    if "data.root=photos" in text:
        fabricate.folder(folder / "photos")
    if "data.root=fruit" in text:
        fabricate.table(folder / "fruit")
    if "plugins=" in text:
        for file in (ROOT / "docs/plugins").glob("*.py"):
            shutil.copy(file, folder)
    for file in set(re.findall(r"ckpt_path=(\S+\.pth\.tar)", text)):
        model = gcp.create_model("tiny", "pade", num_classes=10, backbone_options={"width": 8})
        torch.save({"state_dict": model.state_dict()}, folder / file)
    for place in missing(page):
        cli(*SMALL, f"hydra.run.dir={place}/before")


def missing(page: Path) -> list[str]:
    """Where the page takes it that a run has been, which none of its commands before has left."""
    places, lines = [], commands(page)
    for words, place, leaves in (("ckpt_path=last", "outputs", "run.py "), ("path=multirun", "multirun", "-m ")):
        first = next((number for number, line in enumerate(lines) if words in line), 0)
        before = [line for line in lines[:first] if leaves in line and "mode=" not in line and small(line, page)]
        if (first and not before) or words in lines[0]:
            places.append(place)
    return places
