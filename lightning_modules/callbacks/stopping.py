"""Stopping where the training can be resumed: all processes after the same step."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightning_modules.distributed.gathering import gathered
from lightning_modules.epochs import shown
from lightning_modules.run.interruption import SIGNALS


class StopTogether(Callback):
    """Holds signals back during training and validation until all processes can stop in the same place.

    That is after an optimizer step, with no gradients accumulated for the next one, or after a batch of validation,
    which is then done again from its start.
    """

    def __init__(self) -> None:
        self._shared = 0  # batches of validation that every process has

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold signals back from here on."""
        SIGNALS.check()
        SIGNALS.hold()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Act on a signal that any of the processes has received, if the batch ends a step."""
        if step_is_whole(trainer, batch_idx):
            self._act(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Agree on the number of batches that all processes have: they ask each other after each of these."""
        self._shared = sum(int(number) for number in trainer.num_val_batches)
        self._shared = int(gathered(torch.tensor(self._shared, device=pl_module.device)).min())

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Act on a signal that any of the processes has received."""
        if batch_idx < self._shared and not trainer.sanity_checking:
            self._act(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Signals act at once again."""
        SIGNALS.release()

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        """Act on a signal that could not act at once, as others do during a test."""
        SIGNALS.check()

    def _act(self, trainer: pl.Trainer) -> None:
        received = SIGNALS.received or 0
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(received > 0, all=False):
            received = int(gathered(torch.tensor(received, device=trainer.strategy.root_device)).max())
        if received:
            where = f"in epoch {shown(trainer.current_epoch)} at step {trainer.global_step}"
            SIGNALS.stop(received, where, orderly=True)


def step_is_whole(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether training batch ``batch_idx`` ends an optimizer step; if not, stopping would lose gradients."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
