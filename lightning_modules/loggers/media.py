"""What is not logged through the LightningModule: numbers, and histograms and pictures for loggers that take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

STEP = "trainer/global_step"  # Lightning's name of the step at W&B


def log_numbers(loggers: Sequence[Logger], metrics: dict[str, float], step: int) -> None:
    """Write ``metrics`` to every logger."""
    for logger in loggers:
        logger.log_metrics(metrics, step=step)


def log_histogram(loggers: Sequence[Logger], name: str, values: Sequence[float], step: int) -> None:
    """Write the distribution of ``values`` to W&B and TensorBoard; other loggers have no place for it."""
    if not values:
        return
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Histogram(list(values)), STEP: step})
        elif isinstance(logger, TensorBoardLogger):
            import torch

            logger.experiment.add_histogram(name, torch.tensor(values), step)


def log_picture(loggers: Sequence[Logger], name: str, file: Path, step: int) -> None:
    """Write the picture in ``file``, a PNG, to W&B, TensorBoard and MLflow."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.log({name: wandb.Image(str(file)), STEP: step})
        elif isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            logger.experiment.add_image(name, imread(file)[..., :3], step, dataformats="HWC")
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(file), name.partition("/")[0])
