"""``mode=fit``: train, then test the last weights and the best checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, LambdaCallback, ModelCheckpoint

from datamodules.base import ImageDataModule
from lightning_modules import metric_names as names
from lightning_modules.callbacks.checkpoints import ConfigInCheckpoint, best_checkpoint, last_checkpoints
from lightning_modules.callbacks.history import History
from lightning_modules.callbacks.last_validation import LastValidation
from lightning_modules.callbacks.new_schedule import NewSchedule
from lightning_modules.callbacks.progress import EpochLines
from lightning_modules.callbacks.resuming import Resume
from lightning_modules.callbacks.stopping import StopTogether
from lightning_modules.callbacks.throughput import Throughput
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.processes import processes
from lightning_modules.modes.building import (
    build_classifier,
    build_data,
    count_parameters,
    load_checkpoint,
    load_weights,
)
from lightning_modules.modes.run_report import reported_at_the_end
from lightning_modules.modes.stages import second_stage
from lightning_modules.modes.table import show
from lightning_modules.modes.test import test_network
from lightning_modules.modes.trainer import (
    build_averaging,
    build_callbacks,
    build_features,
    build_switch,
    build_trainer,
    callback_options,
)
from lightning_modules.run.checkpoint_names import FOLDER
from lightning_modules.run.interruption import SIGNALS
from lightning_modules.run.read_checkpoint import read
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary


def run(run: Run, summary: Summary, observers: Sequence[Callback] = ()) -> None:
    """Train, in one stage or two, then test the last weights and the best checkpoint; report.

    ``observers`` are callbacks of the last stage beside those the configuration asks for.
    """
    _fit_and_test(second_stage(run, summary, _fit_and_test), summary, observers)


def _fit_and_test(run: Run, summary: Summary, observers: Sequence[Callback] = ()) -> None:
    with reported_at_the_end(run, summary):
        _one_stage(run, summary, observers)


def _one_stage(run: Run, summary: Summary, observers: Sequence[Callback] = ()) -> None:
    """One stage: from scratch, published weights or those of an earlier stage, or going on from ``ckpt_path``."""
    SIGNALS.check()
    pl.seed_everything(run.seed, workers=True, verbose=False)
    data = build_data(run)
    module = build_classifier(run, data)
    switch, features = build_switch(run, module), build_features(run, module, data)
    if run.config["ckpt_path"] is not None:
        load_checkpoint(module, run)
    elif run.initial is not None:
        load_weights(module, read(run.initial), run.initial)
    options = callback_options(run)
    if run.config.get("compile"):
        module.model.compile()  # in place: the names of the weights stay
    throughput, history = Throughput(), History()
    best = best_checkpoint(run.directory / FOLDER, options)
    last = last_checkpoints(run.directory / FOLDER, options)
    preprocessing = None if data.preprocessing is None else data.preprocessing.plain()
    begin = LambdaCallback(on_train_start=lambda *_: summary.begin())  # optimizer and schedule have been accepted too
    callbacks: list[Callback] = [
        begin,
        throughput,
        history,
        LastValidation(),
        *switch,
        *features,
        *build_averaging(run),
        *(chosen := build_callbacks(run)),
        *observers,
    ]
    callbacks += [ConfigInCheckpoint(run, preprocessing), Resume(), EpochLines(_prefix(run)), best, *last]
    if run.config.get("ckpt_schedule") == "new":
        callbacks.append(NewSchedule())
    callbacks.append(StopTogether())  # the last one, so that the others have done with the step; Lightning's save after
    trainer = build_trainer(run, callbacks)
    earlier = dict.fromkeys(summary.fields.keys() & {names.STOPPED_EPOCH, names.STOPPED_REASON})  # it goes on now
    weights = module.hparams["class_weights"]
    summary.update(**count_parameters(module), **({} if weights is None else {"class_weights": weights}), **earlier)
    with processes(trainer, run, summary.failed):
        try:
            resumed = None if run.published else run.config["ckpt_path"]
            trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
        finally:
            summary.update(
                epochs=trainer.current_epoch,
                train_seconds=throughput.seconds,
                images_per_second=throughput.images_per_second,
                **history.summary_entries(_epoch(best), options.monitor),
                **{name: value for each in (*switch, *features, *chosen) for name, value in _entries(each).items()},
            )
        summary.begin()  # where nothing was left to train
        _test(trainer, module, data, summary, best)
    if trainer.is_global_zero:
        show(run, summary)


def _entries(callback: Callback) -> Mapping[str, Any]:
    """What a callback adds to the summary."""
    entries: Mapping[str, Any] = getattr(callback, "summary_entries", {})
    return entries


def _epoch(best: ModelCheckpoint) -> int | None:
    """The epoch, counted from 0, of the best checkpoint; None: there is none, or it could not be written."""
    path = Path(best.best_model_path)
    return int(read(path)["epoch"]) if path.is_file() else None


def _test(
    trainer: pl.Trainer, module: Classifier, data: ImageDataModule, summary: Summary, best: ModelCheckpoint
) -> None:
    """Test the last weights, and the best ones if those are of an earlier epoch; else the results are the same."""
    last_is_best = _epoch(best) in (None, trainer.current_epoch - 1)
    if not last_is_best:
        module.test_stage = names.TEST_FINAL
        test_network(trainer, module, data, summary)
        module.test_stage = names.TEST
        load_weights(module, read(Path(best.best_model_path)), Path(best.best_model_path))
    test_network(trainer, module, data, summary)
    if last_is_best:
        summary.update(
            **{names.of(names.TEST_FINAL, each): summary.fields[names.of(names.TEST, each)] for each in module.results}
        )


def _prefix(run: Run) -> str:
    """What tells its lines from those of other jobs of a sweep, and of the other stage."""
    job = f"[{run.directory.name.partition('-')[0]}] " if run.sweep else ""
    stage = "" if run.stages is None else f"stage {run.stage}, "
    return job + stage
