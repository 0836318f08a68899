"""Signals in runs of several processes, and Slurm's: heard at once, acted on by all processes after the same batch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lightning_modules.checkpoint_names import REQUEUED


class StopTogether(Callback):
    """Holds signals back until a training batch is done, then stops all processes, or queues the job again.

    Lightning's own handlers act in the process that was signalled, wherever it is: in the middle of a step, or while
    the others wait in a collective operation. One process is left to Lightning, except for Slurm's requeue signal.

    Attributes:
        received: the signal that stopped the run; none before, and in the processes that were not signalled.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._requeue: Callable[[int, FrameType | None], Any] | None = None
        self._requeue_signal: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over from Lightning, which gives them back to their owners at the end."""
        _remove_requeued(trainer)
        if threading.current_thread() is not threading.main_thread():
            return
        if trainer.world_size > 1:
            for each in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(each) is not signal.SIG_IGN:
                    signal.signal(each, self._note)
        environment = trainer._accelerator_connector.cluster_environment  # a strategy of one device has none
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            assert environment.requeue_signal is not None
            handler = signal.getsignal(environment.requeue_signal)
            assert callable(handler)
            self._requeue, self._requeue_signal = handler, environment.requeue_signal
            signal.signal(environment.requeue_signal, self._note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Act on a signal that any of the processes has received."""
        if self._requeue is not None and self._any(trainer, self.received == self._requeue_signal):
            self._requeue(int(self._requeue_signal or 0), None)  # Lightning's: writes a checkpoint, calls scontrol
            _remove_requeued(trainer)  # last.ckpt, written next, holds the same
            raise SIGTERMException
        if trainer.world_size > 1 and self._any(trainer, self.received is not None):
            raise SIGTERMException

    def _any(self, trainer: pl.Trainer, here: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(here, all=False))

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum


def _remove_requeued(trainer: pl.Trainer) -> None:
    """Remove Lightning's requeue checkpoint, which ``trainer.test`` under Slurm would load over the trained weights."""
    if trainer.is_global_zero:
        for path in Path(trainer.default_root_dir).glob(REQUEUED):
            path.unlink()
