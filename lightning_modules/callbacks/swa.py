"""Stochastic weight averaging (Izmailov et al., UAI 2018, arXiv 1803.05407).

Lightning's StochasticWeightAveraging computes the statistics of batch normalisation in an epoch beyond the last, with
the training loop rewired: nothing can be resumed inside it, and what it keeps before has the statistics of other
weights. Here its WeightAveraging does the averaging, as for the exponential average.
"""

from __future__ import annotations

import math
import sys
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch.nn.modules.batchnorm import _BatchNorm

from gcp.errors import OptionError
from lightning_modules import metric_names as names
from lightning_modules.callbacks.averaging import AveragedWeights
from lightning_modules.epochs import shown
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import SWAOptions

BEGIN = 0.75  # of the training, unless from_epoch says when


def build(run: Run, options: SWAOptions) -> StochasticAveraging:
    """The callback of ``callbacks.swa``. Raises OptionError beside ``training.ema_decay`` and with sharded weights."""
    if run.config.get("training", {}).get("ema_decay") is not None:
        raise OptionError(
            "callbacks.swa and training.ema_decay both say which weights are kept; set callbacks.swa.enabled=false or "
            "training.ema_decay=null"
        )
    strategy = str(run.config["trainer"]["strategy"])
    if strategy.startswith(("fsdp", "deepspeed")):
        raise OptionError(f"callbacks.swa needs whole weights on each device; trainer.strategy={strategy} shares them")
    return StochasticAveraging(options)


class StochasticAveraging(AveragedWeights):
    """The mean of the weights after each of the last epochs.

    From the first of them on that mean is validated and kept. The statistics of batch normalisation are computed anew
    for it after each epoch, on training batches. A resumed run goes on with the mean it had.

    Args:
        options: when it begins, and the learning rate from then on.
    """

    def __init__(self, options: SWAOptions) -> None:
        super().__init__(lambda averaged: 1 / (averaged + 1))
        self.options = options
        self._begin: int | None = None  # Lightning's epoch

    @property
    def averaged(self) -> int:
        """The number of epochs whose weights the mean is of."""
        return 0 if self._average_model is None else int(self._average_model.n_averaged)

    @property
    def summary_entries(self) -> dict[str, Any]:
        """Entries of ``summary.json``: the number of epochs averaged."""
        return {names.SWA_EPOCHS: self.averaged}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide on the first epoch, unless the run has been averaging already; warn if it comes after the last one."""
        last = trainer.max_epochs or 1
        if self._begin is None:
            self._begin = int(BEGIN * last) if self.options.from_epoch is None else self.options.from_epoch - 1
        if self._begin >= last and trainer.is_global_zero:
            print(
                f"weights are averaged from epoch {shown(self._begin)} on, which is after the last one: "
                f"trainer.max_epochs={last}",
                file=sys.stderr,
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the learning rate, before it is logged."""
        super().on_train_epoch_start(trainer, pl_module)
        self._set_learning_rate(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the learning rate: a schedule in steps has set its own, and a resumed run starts inside an epoch."""
        self._set_learning_rate(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the weights of the epoch into the mean, before it is validated."""
        assert self._begin is not None
        if trainer.is_last_batch and trainer.current_epoch >= self._begin:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self._swap_models(pl_module)
            renew_statistics(trainer, pl_module, self.options.batch_norm_batches)
            self._swap_models(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the mean into the module, once there is one."""
        if self.averaged:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the trained weights back."""
        if self.averaged:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the mean in the module."""
        self.on_fit_end(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the mean in the module, once there is one."""
        if self.averaged:
            super().on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The first epoch of the mean, once averaging has begun."""
        return {**super().state_dict(), "begin": self._begin if self.averaged else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._begin = state_dict["begin"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the mean in the place of the trained weights, and these beside it."""
        if self.averaged:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read the mean and the trained weights, if the checkpoint has both."""
        if "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _set_learning_rate(self, trainer: pl.Trainer) -> None:
        """From the schedule's to ``lr``, by half a cosine; groups keep their ratios."""
        assert self._begin is not None
        epochs = trainer.current_epoch - self._begin + 1
        if self.options.lr is None or epochs < 1:
            return
        share = (1 - math.cos(math.pi * min(epochs / (self.options.anneal_epochs + 1), 1.0))) / 2
        (optimizer,), scheduler = trainer.optimizers, trainer.lr_scheduler_configs[0].scheduler
        of_schedule, base = scheduler.get_last_lr(), scheduler.base_lrs
        for group, scheduled, initial in zip(optimizer.param_groups, of_schedule, base, strict=True):
            target = self.options.lr * initial / optimizer.defaults["lr"]
            group["lr"] = (1 - share) * scheduled + share * target


def renew_statistics(trainer: pl.Trainer, module: pl.LightningModule, batches: int) -> None:
    """Compute the running statistics of batch normalisation anew, as means over so many training batches.

    Nothing else changes: no weight, no random state, and what is frozen keeps its statistics.
    """
    layers = [
        each for each in module.modules() if isinstance(each, _BatchNorm) and each.training and each.track_running_stats
    ]
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
    if not layers or data is None:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
    precision = trainer.precision_plugin
    with torch.no_grad(), isolate_rng(), precision.forward_context():
        loader = data.train_dataloader()
        for images, _ in islice(loader, min(batches, int(trainer.num_training_batches))):
            module.model(precision.convert_input(images.to(module.device)))  # type: ignore[operator]  # typed as Tensor or Module
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        if trainer.world_size > 1:
            for statistic in layer.buffers(recurse=False):
                if statistic.is_floating_point():  # counts are the same everywhere
                    statistic.copy_(trainer.strategy.reduce(statistic, reduce_op="mean"))
