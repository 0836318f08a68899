"""Stopping where the training can be resumed: all processes after the same step, and Slurm's requeueing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment

from lightning_modules.distributed.gathering import gathered
from lightning_modules.epochs import shown
from lightning_modules.run.checkpoint_names import REQUEUED
from lightning_modules.run.interruption import SIGNALS


class StopTogether(Callback):
    """Holds signals back during training and validation until all processes can stop in the same place.

    That is after an optimizer step, with no gradients accumulated for the next one, or after a batch of validation,
    which is then done again from its start. On Slurm's requeue signal the job is queued again, in the same places.
    """

    def __init__(self) -> None:
        self._requeue: Callable[[int, FrameType | None], Any] | None = None
        self._requeue_signal: int | None = None
        self._shared = 0  # batches of validation that every process has

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold signals back from here on, and handle Slurm's requeue signal in Lightning's place until the end."""
        _remove_requeued(trainer)
        SIGNALS.check()
        SIGNALS.hold()
        environment = trainer._accelerator_connector.cluster_environment  # a strategy of one device has none
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            assert environment.requeue_signal is not None
            handler = signal.getsignal(environment.requeue_signal)
            assert callable(handler)
            self._requeue, self._requeue_signal = handler, environment.requeue_signal
            signal.signal(environment.requeue_signal, SIGNALS.note)

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
        where = f"in epoch {shown(trainer.current_epoch)} at step {trainer.global_step}"
        if self._requeue is not None and self._any(trainer, SIGNALS.received == self._requeue_signal):
            self._requeue(int(self._requeue_signal or 0), None)  # Lightning's: writes a checkpoint, calls scontrol
            _remove_requeued(trainer)  # last.ckpt, written next, holds the same
            SIGNALS.stop(self._requeue_signal, where, orderly=True)
        if self._any(trainer, SIGNALS.received is not None):
            SIGNALS.stop(None, where, orderly=True)

    def _any(self, trainer: pl.Trainer, here: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(here, all=False)) if trainer.world_size > 1 else here


def step_is_whole(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether training batch ``batch_idx`` ends an optimizer step; if not, stopping would lose gradients."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def _remove_requeued(trainer: pl.Trainer) -> None:
    """Remove Lightning's requeue checkpoint, which ``trainer.test`` under Slurm would load over the trained weights."""
    if trainer.is_global_zero:
        for path in Path(trainer.default_root_dir).glob(REQUEUED):
            path.unlink()
