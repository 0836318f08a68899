"""Which classes are told apart, and which are taken for each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from lightning_modules import metric_names as names
from lightning_modules.classifier import Classifier
from lightning_modules.loggers.media import log_picture
from lightning_modules.plots.confusion import confusion_figure
from lightning_modules.run.spec import Run
from lightning_modules.run.storage import write_csv
from lightning_modules.run.summary import CONFUSION
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.modes import HTML, formats_of

MOST_CLASSES = 100  # that are counted for a report alone: the table of more takes megabytes


def build(run: Run, options: CallbackOptions) -> Confusion | None:
    """The callback of ``callbacks.confusion_matrix``, and of reports, which need no more than the table."""
    if not options.confusion_matrix and HTML not in formats_of(run.config):
        return None
    return Confusion(run.directory, table_only=not options.confusion_matrix)


class Confusion(Callback):
    """Writes the accuracy of each class and the confusion matrix of a test, as tables and as a picture.

    Args:
        directory: where `PER_CLASS`, `TABLE` and `PICTURE` go.
        table_only: write no more than `TABLE`, and that for up to `MOST_CLASSES` classes only.

    Attributes:
        matrix: counts (K, K) of the last test, rows the true classes; None before.
    """

    PER_CLASS = "per_class.csv"
    TABLE = CONFUSION
    PICTURE = "confusion_matrix.png"

    def __init__(self, directory: Path, table_only: bool = False) -> None:
        self.directory = directory
        self.table_only = table_only
        self.matrix: Tensor | None = None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from here."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        self._names: list[str] = data.class_names
        self._counts = not self.table_only or len(self._names) <= MOST_CLASSES
        self._metric = MulticlassConfusionMatrix(len(self._names)).to(pl_module.device)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any, **__: Any
    ) -> None:
        """Count the batch."""
        if self._counts:
            self._metric.update(outputs["logits"], outputs["labels"])

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the files, of the best weights alone where others are tested too."""
        if not self._counts:
            return
        self.matrix = self._metric.compute().cpu()  # over all devices
        assert isinstance(pl_module, Classifier)
        if not trainer.is_global_zero or pl_module.test_stage != names.TEST:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        counts = self.matrix.tolist()
        table = [[name, *row] for name, row in zip(self._names, counts, strict=True)]
        write_csv(self.directory / self.TABLE, [["true class", *self._names], *table])
        if self.table_only:
            return
        rows = [
            [name, sum(row), f"{row[label] / sum(row):.6f}" if sum(row) else ""]
            for label, (name, row) in enumerate(zip(self._names, counts, strict=True))
        ]
        write_csv(self.directory / self.PER_CLASS, [["class", "images", "accuracy"], *rows])
        confusion_figure(self.matrix, self._names).savefig(self.directory / self.PICTURE, dpi=150)
        log_picture(trainer.loggers, names.CONFUSION, self.directory / self.PICTURE, trainer.global_step)
