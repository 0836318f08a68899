"""What a run shows while it trains: a line for each epoch, and bars where there is a terminal."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from lightning_modules import metric_names as names
from lightning_modules.epochs import shown


class EpochLines(Callback):
    """Prints a line as soon as an epoch has ended, whether into a terminal, a file or a pipe.

    Args:
        prefix: what the line begins with, where several runs write into one place.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._since = perf_counter()
        self._validated: int | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the epoch has a validation: metrics of earlier ones are kept by Lightning."""
        if not trainer.sanity_checking:
            self._validated = trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero:
            return
        parts = [f"{self.prefix}epoch {shown(trainer.current_epoch)}/{_last(trainer)}"]
        parts.append(_results(trainer, names.TRAIN, names.LOSS_EPOCH))
        if self._validated == trainer.current_epoch:
            parts.append(_results(trainer, names.VAL, names.LOSS))
        parts.append(f"{perf_counter() - self._since:.1f} s")
        print("  ".join(part for part in parts if part), flush=True)  # a pipe or a file would keep it for later


class Bars(RichProgressBar):
    """Lightning's bars, with the loss alone beside them and epochs counted from 1: a line at 80 columns."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The loss of the step."""
        loss = trainer.progress_bar_metrics.get(names.of(names.TRAIN, names.LOSS_STEP))
        return {} if loss is None else {"loss": loss}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {shown(current_epoch)}/{_last(self.trainer)}"


def _last(trainer: pl.Trainer) -> str:
    return str(trainer.max_epochs) if trainer.max_epochs not in (None, -1) else "?"


def _results(trainer: pl.Trainer, stage: str, loss: str) -> str:
    """Loss and accuracy of a stage; empty if it has none."""
    metrics = trainer.callback_metrics
    value, accuracy = (float(metrics.get(names.of(stage, name), math.nan)) for name in (loss, names.ACCURACY))
    return "" if math.isnan(accuracy) else f"{stage} loss {value:.4f} acc {accuracy:.2%}"
