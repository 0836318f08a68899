"""``mode=test``: test a checkpoint with the network its own configuration, or a published one's user, describes."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytorch_lightning as pl

from datamodules.base import ImageDataModule
from lightning_modules.callbacks.stopping import StopTogether
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.processes import processes
from lightning_modules.metric_names import CLASS_ACCURACY, of
from lightning_modules.modes.building import build_classifier, build_data, count_parameters, load_checkpoint
from lightning_modules.modes.run_report import reported_at_the_end
from lightning_modules.modes.table import show
from lightning_modules.modes.trainer import build_callbacks, build_trainer
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary


def run(run: Run, summary: Summary) -> None:
    """Test and report. Raises CheckpointError if the weights do not fit."""
    with reported_at_the_end(run, summary):
        _test(run, summary)


def _test(run: Run, summary: Summary) -> None:
    path = Path(run.config["ckpt_path"])
    pl.seed_everything(run.seed, workers=True, verbose=False)
    data = build_data(run)
    module = build_classifier(run, data)
    load_checkpoint(module, run)
    trainer = build_trainer(run, [*build_callbacks(run), StopTogether()])
    summary.update(**count_parameters(module), ckpt_path=str(path))
    summary.begin()
    with processes(trainer, run, summary.failed):
        test_network(trainer, module, data, summary)
    if trainer.is_global_zero:
        show(run, summary)


def test_network(trainer: pl.Trainer, module: Classifier, data: ImageDataModule, summary: Summary) -> None:
    """Test the weights ``module`` holds now; the metrics go to the loggers and the summary, under its stage."""
    reported = [of(module.test_stage, metric) for metric in module.results]
    if trainer.limit_test_batches == 0:
        print("trainer.limit_test_batches=0: not tested", file=sys.stderr)
        summary.update(**dict.fromkeys(reported))
        return
    (metrics,) = trainer.test(module, datamodule=data, verbose=False)
    summary.update(**{name: metrics.get(name) for name in reported})
    if module.class_accuracies is not None:
        found = zip(data.class_names, module.class_accuracies, strict=True)
        by_class = {name: None if math.isnan(accuracy) else round(accuracy, 6) for name, accuracy in found}
        summary.update(**{of(module.test_stage, CLASS_ACCURACY): by_class})
