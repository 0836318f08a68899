"""TensorBoard, beside metrics.csv."""

from __future__ import annotations

from importlib.util import find_spec

from pytorch_lightning.loggers import TensorBoardLogger

from gcp.errors import MissingDependencyError
from lightning_modules.epochs import CountedFromOne
from lightning_modules.run.spec import Run
from lightning_modules.settings.loggers import TensorBoardOptions

FOLDER = "tensorboard"


class Events(CountedFromOne, TensorBoardLogger):
    """Lightning's logger, with epochs counted from 1."""


def build(run: Run, options: TensorBoardOptions) -> Events:
    """Event files in ``tensorboard/`` of the run directory; of a sweep, ``tensorboard --logdir`` compares the jobs."""
    if find_spec("tensorboard") is None:
        raise MissingDependencyError("logger=tensorboard needs tensorboard; install it: pip install '.[tensorboard]'")
    return Events(str(run.directory), name="", version=FOLDER)
