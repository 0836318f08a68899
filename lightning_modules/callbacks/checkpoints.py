"""Checkpoints of a run: ``best.ckpt`` and ``last.ckpt``, with the configuration inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_modules.settings.callbacks import CallbackOptions


def best_checkpoint(directory: Path, options: CallbackOptions) -> ModelCheckpoint:
    """Keeps ``best.ckpt`` by the monitored metric."""
    return ModelCheckpoint(
        directory,
        filename="best",
        monitor=options.monitor,
        mode=options.better,
        save_on_train_epoch_end=True if options.monitor.startswith("train/") else None,  # none: with its validation
        enable_version_counter=False,
    )


def last_checkpoints(directory: Path, options: CallbackOptions) -> list[ModelCheckpoint]:
    """Keep ``last.ckpt`` up to date: after every epoch, and as often inside one as the options say."""
    steps = options.checkpoint_every_n_steps
    return [LastCheckpoint(directory)] + ([] if steps is None else [LastCheckpoint(directory, steps)])


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt`` after every epoch and when the run is interrupted, or every so many steps.

    Not after other exceptions: a network that ran into NaN must not replace its last good state.

    Args:
        directory: the folder of the checkpoints.
        steps: optimizer steps between two of them; none: after every epoch.
    """

    def __init__(self, directory: Path, steps: int | None = None) -> None:
        super().__init__(
            directory,
            filename="last",
            every_n_train_steps=steps,
            save_on_exception=steps is None,
            save_on_train_epoch_end=True,  # Lightning's own choice waits for a validation
            enable_version_counter=False,
        )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save when a person or the scheduler stops the run; Ctrl-C is not in step with other processes."""
        alone = trainer.world_size == 1
        if isinstance(exception, SIGTERMException) or (alone and isinstance(exception, KeyboardInterrupt)):
            super().on_exception(trainer, pl_module, exception)


class ConfigInCheckpoint(Callback):
    """Writes what the other modes need into each checkpoint.

    Args:
        config: the run's resolved configuration, from which ``mode=test`` rebuilds the network.
        preprocessing: `Preprocessing.plain` of the dataset, with which ``mode=predict`` reads pictures; none: unknown.
    """

    KEY = "config"
    PREPROCESSING = "preprocessing"

    def __init__(self, config: dict[str, Any], preprocessing: dict[str, Any] | None = None) -> None:
        self.config = config
        self.preprocessing = preprocessing

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add them."""
        checkpoint[self.KEY] = self.config
        checkpoint[self.PREPROCESSING] = self.preprocessing
