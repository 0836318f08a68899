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
from lightning_modules.settings.callback_options import CallbackOptions


def build(run: Run, options: CallbackOptions) -> Confusion | None:
    """The callback of ``callbacks.confusion_matrix``."""
    return Confusion(run.directory) if options.confusion_matrix else None


class Confusion(Callback):
    """Writes the accuracy of each class and the confusion matrix of a test, as tables and as a picture.

    Args:
        directory: where `PER_CLASS`, `TABLE` and `PICTURE` go.

    Attributes:
        matrix: counts (K, K) of the last test, rows the true classes; None before.
    """

    PER_CLASS = "per_class.csv"
    TABLE = "confusion_matrix.csv"
    PICTURE = "confusion_matrix.png"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.matrix: Tensor | None = None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from here."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning
        self._names: list[str] = data.class_names
        self._metric = MulticlassConfusionMatrix(len(self._names)).to(pl_module.device)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any, **__: Any
    ) -> None:
        """Count the batch."""
        self._metric.update(outputs["logits"], outputs["labels"])

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the files, of the best weights alone where others are tested too."""
        self.matrix = self._metric.compute().cpu()  # over all devices
        assert isinstance(pl_module, Classifier)
        if not trainer.is_global_zero or pl_module.test_stage != names.TEST:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        counts = self.matrix.tolist()
        rows = [
            [name, sum(row), f"{row[label] / sum(row):.6f}" if sum(row) else ""]
            for label, (name, row) in enumerate(zip(self._names, counts, strict=True))
        ]
        write_csv(self.directory / self.PER_CLASS, [["class", "images", "accuracy"], *rows])
        table = [[name, *row] for name, row in zip(self._names, counts, strict=True)]
        write_csv(self.directory / self.TABLE, [["true class", *self._names], *table])
        confusion_figure(self.matrix, self._names).savefig(self.directory / self.PICTURE, dpi=150)
        log_picture(trainer.loggers, names.CONFUSION, self.directory / self.PICTURE, trainer.global_step)
