"""``model.pt2``: the network as a program of `torch.export`, for any batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

FILE = "model.pt2"


def write(model: nn.Module, images: Tensor, path: Path) -> None:
    """Trace ``model`` on ``images`` (2 or more, the number stays free) and save the program."""
    with torch.no_grad():
        program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The saved program as a function of images."""
    module = torch.export.load(path).module()
    return lambda images: module(images)
