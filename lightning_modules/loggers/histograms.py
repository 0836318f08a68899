"""Histograms, for the loggers that take them."""

from __future__ import annotations

from collections.abc import Sequence

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger


def log_histogram(loggers: Sequence[Logger], name: str, values: Sequence[float], step: int) -> None:
    """Write the distribution of ``values`` to W&B and TensorBoard; other loggers have no place for it."""
    if not values:
        return
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Histogram(list(values)), "trainer/global_step": step})
        elif isinstance(logger, TensorBoardLogger):
            import torch

            logger.experiment.add_histogram(name, torch.tensor(values), step)
