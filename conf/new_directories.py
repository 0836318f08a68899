"""Directories that Hydra makes for a command before the command can be refused: they go again, if they stay empty."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_NEW: list[Path] = []  # of the present command, the innermost first


class NewDirectories(Callback):
    """Notes which directories are not there yet; Hydra calls it before it makes them."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note those of a run."""
        _note(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note those of a sweep."""
        _note(config.hydra.sweep.dir)


def remove_new() -> None:
    """Remove those that are empty."""
    for directory in _NEW:
        with suppress(OSError):
            directory.rmdir()


def _note(directory: str) -> None:
    path = Path(directory).absolute()
    _NEW[:] = [each for each in (path, *path.parents) if not os.path.exists(each)]  # Path.exists needs permission
