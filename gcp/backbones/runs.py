"""Runs of this project as a source of weights: where their checkpoints are. Free of torch."""

from __future__ import annotations

from pathlib import Path

RUN_FILES = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")
"""Where a run keeps them, the one to prefer first."""


def checkpoint_of(weights: str) -> Path | None:
    """The checkpoint that ``backbone.weights`` names, itself or by its run directory; None: it names something else.

    >>> checkpoint_of("IMAGENET1K_V2")
    """
    path = Path(weights)
    if path.is_dir():
        return next((path / file for file in RUN_FILES if (path / file).exists()), None)
    return path if path.suffix == ".ckpt" else None
