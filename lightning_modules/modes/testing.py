"""Testing a network, and what of it goes into the summary."""

from __future__ import annotations

import sys

import pytorch_lightning as pl

from datamodules.base import ImageDataModule
from lightning_modules.classifier import Classifier
from lightning_modules.summary import Summary

RESULTS = ("acc1", "acc5", "loss")


def test_network(trainer: pl.Trainer, module: Classifier, data: ImageDataModule, summary: Summary) -> None:
    """Test the weights ``module`` holds now; the metrics go to the loggers and the summary, under its stage."""
    if trainer.limit_test_batches == 0:
        print("trainer.limit_test_batches=0: not tested", file=sys.stderr)
        summary.update(**{f"{module.test_stage}/{name}": None for name in RESULTS})
        return
    (metrics,) = trainer.test(module, datamodule=data, verbose=False)
    names = [f"{module.test_stage}/{name}" for name in RESULTS]
    summary.update(**{name: metrics.get(name) for name in names})
