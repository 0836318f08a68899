"""How long training took and how many images it saw."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightning_modules import metric_names as names
from lightning_modules.loggers.media import log_numbers


class Throughput(Callback):
    """Counts images and seconds of training, validation apart; goes on counting when a run is resumed.

    Attributes:
        images: training images seen, over all devices.
        seconds: time spent on them, data loading included.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._since: float | None = None
        self._epoch = (0.0, 0)

    @property
    def images_per_second(self) -> float | None:
        """Training images per second; None before the first."""
        return self.images / self.seconds if self.seconds else None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a run resumed inside an epoch does not start an epoch."""
        self._since = perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = perf_counter()
        self._epoch = (self.seconds, self.images)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch."""
        self.images += len(batch[0]) * trainer.world_size
        self._lap()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out the time since the last training batch."""
        self._since = perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write seconds and images per second of the epoch to the loggers."""
        seconds, images = self.seconds - self._epoch[0], self.images - self._epoch[1]
        if seconds > 0:
            metrics = {names.EPOCH_SECONDS: seconds, names.IMAGES_PER_SECOND: images / seconds}
            log_numbers(trainer.loggers, metrics, max(trainer.global_step - 1, 0))

    def state_dict(self) -> dict[str, Any]:
        """Images and seconds so far, and those before the present epoch."""
        return {"images": self.images, "seconds": self.seconds, "epoch": list(self._epoch)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
        seconds, images = state_dict.get("epoch", (self.seconds, self.images))
        self._epoch = (seconds, images)

    def _lap(self) -> None:
        now = perf_counter()
        if self._since is not None:
            self.seconds += now - self._since
        self._since = now
