"""``mode=fit``: train, then test the last weights and the best checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.exceptions import SIGTERMException

from datamodules.base import ImageDataModule
from lightning_modules.callbacks.checkpoints import ConfigInCheckpoint, best_checkpoint, last_checkpoints
from lightning_modules.callbacks.confusion import Confusion
from lightning_modules.callbacks.history import History
from lightning_modules.callbacks.last_validation import LastValidation
from lightning_modules.callbacks.spectrum_monitor import SpectrumMonitor
from lightning_modules.callbacks.stopping import StopTogether
from lightning_modules.callbacks.throughput import Throughput
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.processes import processes
from lightning_modules.job import InterruptedRunError
from lightning_modules.modes.building import (
    build_averaging,
    build_classifier,
    build_data,
    build_switch,
    build_trainer,
    callback_options,
    count_parameters,
    load_checkpoint,
    load_weights,
)
from lightning_modules.modes.stages import second_stage
from lightning_modules.modes.table import show
from lightning_modules.modes.testing import RESULTS, test_network
from lightning_modules.restore import read
from lightning_modules.run import Run
from lightning_modules.summary import Summary


def run(run: Run, summary: Summary, observers: Sequence[Callback] = ()) -> None:
    """Train, in one stage or two, then test the last weights and the best checkpoint; report.

    ``observers`` are callbacks of the last stage beside those the configuration asks for.
    """
    _fit_and_test(second_stage(run, _fit_and_test), summary, observers)


def _fit_and_test(run: Run, summary: Summary, observers: Sequence[Callback] = ()) -> None:
    """One stage: from scratch, published weights or those of an earlier stage, or going on from ``ckpt_path``."""
    pl.seed_everything(run.seed, workers=True, verbose=False)
    data = build_data(run)
    module = build_classifier(run, data)
    switch = build_switch(run, module)
    if run.config["ckpt_path"] is not None:
        load_checkpoint(module, run)
    elif run.initial is not None:
        load_weights(module, read(run.initial), run.initial)
    options = callback_options(run)
    if run.config.get("compile"):
        module.model.compile()  # in place: the names of the weights stay
    throughput, history = Throughput(), History()
    best = best_checkpoint(run.directory / "checkpoints", options)
    last = last_checkpoints(run.directory / "checkpoints", options)
    stop = StopTogether()
    preprocessing = data.preprocessing and data.preprocessing.plain()
    callbacks: list[Callback] = [throughput, history, LastValidation(), *switch, *build_averaging(run), *observers]
    if options.confusion_matrix:
        callbacks.append(Confusion(run.directory, data.class_names))
    callbacks += [ConfigInCheckpoint(run.config, preprocessing), best, *last, stop]
    if options.spectrum_every_n_steps or options.smoothness_every_n_steps:
        callbacks.append(SpectrumMonitor(options.spectrum_every_n_steps, options.smoothness_every_n_steps))
    if options.log_learning_rate:
        callbacks.append(LearningRateMonitor())
    trainer = build_trainer(run, callbacks)
    summary.update(params=count_parameters(module))
    with processes(trainer, run, summary.failed):
        try:
            _fit(trainer, module, data, run, stop)
        finally:
            summary.update(
                epochs=trainer.current_epoch,
                train_seconds=throughput.seconds,
                images_per_second=throughput.images_per_second,
                **{"val/acc1": _accuracy(best, trainer)},
                **history.facts(_epoch(best)),
                **{name: value for each in switch for name, value in each.facts.items()},
            )
        _test(trainer, module, data, summary, best)
    if trainer.is_global_zero:
        show(run, summary)


def _fit(trainer: pl.Trainer, module: Classifier, data: pl.LightningDataModule, run: Run, stop: StopTogether) -> None:
    """``trainer.fit``, with an interruption told apart from an error."""
    try:
        resumed = None if run.published else run.config["ckpt_path"]
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    except SIGTERMException as error:
        exit_code = 128 + (stop.received or signal.SIGTERM)
        raise InterruptedRunError(_how_to_resume(trainer, run), exit_code) from error
    except SystemExit as error:
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
        raise InterruptedRunError(_how_to_resume(trainer, run), exit_code=130) from error


def _epoch(best: ModelCheckpoint) -> int | None:
    """The epoch, counted from 0, of the best checkpoint."""
    return int(read(Path(best.best_model_path))["epoch"]) if best.best_model_path else None


def _test(
    trainer: pl.Trainer, module: Classifier, data: ImageDataModule, summary: Summary, best: ModelCheckpoint
) -> None:
    """Test the last weights, and the best ones if those are of an earlier epoch; else the results are the same."""
    last_is_best = _epoch(best) in (None, trainer.current_epoch - 1)
    if not last_is_best:
        module.test_stage = "test_final"
        test_network(trainer, module, data, summary)
        module.test_stage = "test"
        load_weights(module, read(Path(best.best_model_path)), Path(best.best_model_path))
    test_network(trainer, module, data, summary)
    if last_is_best:
        summary.update(**{f"test_final/{name}": summary.fields[f"test/{name}"] for name in RESULTS})


def _how_to_resume(trainer: pl.Trainer, run: Run) -> str:
    where = f"interrupted in epoch {trainer.current_epoch} at step {trainer.global_step}"
    if not (run.directory / "checkpoints" / "last.ckpt").exists():
        return f"{where}, before there was a checkpoint; start again"
    return f"{where}; go on with: python run.py ckpt_path=last hydra.run.dir={run.directory}"


def _accuracy(best: ModelCheckpoint, trainer: pl.Trainer) -> float | None:
    """Validation accuracy of the best checkpoint, or the last one if another metric decides which is best."""
    score = best.best_model_score if best.monitor == "val/acc1" else trainer.callback_metrics.get("val/acc1")
    return None if score is None else float(score)
