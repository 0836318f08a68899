"""Going on with a run at another learning rate, or by another schedule."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class NewSchedule(Callback):
    """Puts the run's own learning rates, weight decays, ... and schedule in place of those the checkpoint brought.

    Momentum and the count of epochs or steps stay; from that count on the new schedule goes as if the run had had it
    from the start.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put them in place, once the checkpoint's state has been restored."""
        configured: Any = pl_module.configure_optimizers()
        fresh = configured["optimizer"]
        (optimizer,) = trainer.optimizers
        rates = []
        for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
            group.update({name: value for name, value in new.items() if name != "params"})
            rates.append(new["initial_lr"])
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        scheduler.base_lrs = rates
        factors = [factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]  # type: ignore[union-attr]  # a LambdaLR
        for group, rate, factor in zip(optimizer.param_groups, rates, factors, strict=True):
            group["lr"] = rate * factor
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
