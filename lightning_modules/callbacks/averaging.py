"""Averages of the weights, which are what is validated, tested and kept."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from lightning_modules.classifier import Classifier
from lightning_modules.switching import set_method

Weight = Callable[[int], float]


class AveragedWeights(WeightAveraging):
    """torch's AveragedModel through Lightning: validated, and left in the module after training.

    Checkpoints hold the averaged weights as ``state_dict``, and beside them those that training goes on with. Batch
    normalisation's running statistics are averaged too; integers, such as hashes and counts, are taken over.

    Args:
        share: the weight of the present network in the average, given how many the average has of already.
    """

    def __init__(self, share: Weight) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            return averaged.lerp(current, share(int(steps))) if averaged.is_floating_point() else current

        super().__init__(avg_fn=average)
        self._swapped = False  # whether the module holds the averaged weights, during validation

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow a switch of the pooling method, in hybrid training."""
        assert self._average_model is not None
        averaged = self._average_model.module
        assert isinstance(averaged, Classifier)
        if averaged.hparams["method"] != pl_module.hparams["method"]:
            set_method(averaged, pl_module.hparams["method"])

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the averaged weights into the module."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = self._average_model is not None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the trained ones back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Put the trained ones back if validation is interrupted, before a checkpoint is written."""
        if self._swapped:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the averaged weights in the module, also if a resumed run had nothing left to train."""
        self._copy_average_to_current(pl_module)


class Averaging(AveragedWeights):
    """An exponential moving average, updated after each optimizer step.

    Args:
        decay: share of the average that stays at each step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(lambda steps: 1 - decay)
