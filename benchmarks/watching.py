"""A callback that measures what `run.py` does not write down: calibration, spectra, processor time, repairs."""

from __future__ import annotations

from dataclasses import asdict
from time import process_time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from gcp.spectral.lapack import FAILURES
from lightning_modules.classifier import Classifier
from lightning_modules.switching import pooling_of

BINS = 15
IMAGES = 64  # validation images whose spectra are taken


class Watch(Callback):
    """Changes nothing of the training.

    Attributes:
        seen: ``spectra`` (eigenvalues of the covariances, largest first, medians over the first validation images,
            before and after training), ``epoch_seconds`` of the processor, ``repairs`` of decompositions, and of the
            best epoch's test ``calibration_error`` and ``right``, a 0 or 1 for each image.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"spectra": {}, "epoch_seconds": []}
        self._start = 0.0
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Spectra before training."""
        self.seen["spectra"]["before"] = _spectrum(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time runs."""
        self._start = process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch's time, its validation included."""
        self.seen["epoch_seconds"].append(round(process_time() - self._start, 3))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Spectra after training; how many decompositions had to be repaired."""
        self.seen["spectra"]["after"] = _spectrum(trainer, pl_module)
        self.seen["repairs"] = asdict(FAILURES.take())

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the test before: of two, the last one is that of the best epoch."""
        self._logits, self._labels = [], []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any, **named: Any
    ) -> None:
        """Keep logits and labels."""
        self._logits.append(outputs["logits"].detach().float().cpu())
        self._labels.append(outputs["labels"].cpu())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Expected calibration error, and which images were right."""
        logits, labels = torch.cat(self._logits), torch.cat(self._labels)
        error = multiclass_calibration_error(logits.softmax(1), labels, logits.shape[1], n_bins=BINS, norm="l1")
        self.seen["calibration_error"] = round(error.item(), 5)
        self.seen["right"] = "".join(map(str, (logits.argmax(1) == labels).long().tolist()))


@torch.no_grad()
def _spectrum(trainer: pl.Trainer, module: pl.LightningModule) -> list[float]:
    """Eigenvalues of the covariances of what goes into the pooling layer, medians over images."""
    assert isinstance(module, Classifier)
    loader: Any = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]  # Lightning sets it
    data = loader.dataset
    images = torch.stack([data[position][0] for position in range(min(IMAGES, len(data)))])
    seen: list[Tensor] = []
    hook = pooling_of(module.model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    training = module.training
    module.eval()
    try:
        module(images.to(module.device))
    finally:
        hook.remove()
        module.train(training)
    features = seen[0].double().flatten(2)
    centred = features - features.mean(2, keepdim=True)
    values = torch.linalg.svdvals(centred).square() / features.shape[2]
    return [float(f"{value:.5g}") for value in values.median(0).values.tolist()]
