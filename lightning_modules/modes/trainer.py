"""Lightning's Trainer of a run, with the loggers and callbacks its configuration asks for."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich import get_console

from datamodules.base import ImageDataModule
from gcp.errors import OptionError, PluginError
from gcp.options import make_options
from gcp.registry import resolve
from lightning_modules.callbacks import features_once
from lightning_modules.callbacks.averaging import Averaging
from lightning_modules.callbacks.method_switch import MethodSwitch
from lightning_modules.callbacks.progress import Bars
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.srun import environment
from lightning_modules.distributed.sync_statistics import SyncStatistics
from lightning_modules.run.ranks import check_machines, check_tasks
from lightning_modules.run.spec import Run
from lightning_modules.run.write_checkpoint import AtomicCheckpointIO
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.callbacks import CALLBACKS, options_of_callback, own_options
from lightning_modules.settings.loggers import LOGGERS, chosen_loggers
from lightning_modules.settings.training import SwitchOptions, TrainingOptions

PROCESSES_PER_CORE = 4  # beyond it nothing moves


def build_trainer(run: Run, callbacks: Sequence[Callback]) -> pl.Trainer:
    """Lightning's Trainer with the run's loggers and progress bars, writing into the run directory only."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # in-memory data needs none
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # a run directory that is resumed
    warnings.filterwarnings("ignore", ".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*dirpath has changed.*")  # a resumed run keeps its own best in its own place
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # on a machine of a cluster, outside of a job
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU.*")  # said below, once
    if run.config["backbone"].get("frozen"):
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # the frozen layers, on purpose
    bars: list[Callback] = [Bars()] if callback_options(run).progress_bar and get_console().is_terminal else []
    loggers = build_loggers(run)
    options = dict(run.config["trainer"])
    options.pop("requeue", None)  # see `lightning_modules.run.command`
    check_machines(options["num_nodes"])
    plugins: list[Any] = [AtomicCheckpointIO(), *environment()]
    plugins += [SyncStatistics()] if options["sync_batchnorm"] else []
    try:
        trainer = pl.Trainer(
            **options,
            plugins=plugins,
            use_distributed_sampler=False,  # the data modules share the images out
            default_root_dir=run.directory,
            logger=loggers,
            callbacks=[*callbacks, *bars],
            enable_progress_bar=bool(bars),
            enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
            enable_model_summary=False,
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise OptionError(f"the trainer refuses its options: {str(error).strip()}") from error
    devices, machines = trainer.num_devices, trainer.num_nodes
    check_tasks(devices, machines, f"trainer.devices={devices}, trainer.num_nodes={machines}")
    trainer._signal_connector._sigterm_notifier_fn = _leave_to_us  # type: ignore[method-assign, assignment]  # a function in place of a method
    on_cpu = isinstance(trainer.accelerator, CPUAccelerator)
    most = PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if on_cpu and trainer.num_devices > most:
        raise OptionError(
            f"trainer.devices={trainer.num_devices} starts as many processes on {os.cpu_count()} cores; "
            f"use at most {most}"
        )
    if run.config["trainer"]["precision"] == "16-mixed" and on_cpu:
        print("trainer.precision=16-mixed is bf16-mixed on a CPU, which has no mixed float16", file=sys.stderr)
    return trainer


def _leave_to_us(signum: int, frame: FrameType | None) -> None:
    """In place of Lightning's own handling of SIGTERM, which acts only where it was sent to: see `StopTogether`."""


def build_loggers(run: Run) -> list[Logger]:
    """metrics.csv, and the loggers chosen."""
    chosen = chosen_loggers(run.config["logger"])
    return [resolve(LOGGERS.get(name).build)(run, options) for name, options in chosen.items()]


def callback_options(run: Run) -> CallbackOptions:
    """The options of the section `callbacks` itself."""
    return own_options(run.config["callbacks"])


def build_callbacks(run: Run) -> list[Callback]:
    """Those of the registry that the run asks for and its mode has, in the order they were registered."""
    callbacks = []
    for name in CALLBACKS.names():
        entry, options = CALLBACKS.get(name), options_of_callback(run.config["callbacks"], name)
        callback = None
        if options is not None and run.config["mode"] in entry.modes:
            callback = resolve(entry.build)(run, options)
        if callback is not None and not isinstance(callback, Callback):
            raise PluginError(
                f"the callback '{name}' must be a Callback of Lightning's, its builder gave {type(callback).__name__}"
            )
        callbacks += [] if callback is None else [callback]
    return callbacks


def build_averaging(run: Run) -> list[Averaging]:
    """The callback that averages weights, in a list that is empty if the run does not."""
    options = make_options(TrainingOptions, run.config.get("training", {}), "section 'training'")
    return [] if options.ema_decay is None else [Averaging(options.ema_decay)]


def build_features(run: Run, module: Classifier, data: ImageDataModule) -> list[Callback]:
    """The callback that computes the features of frozen stages once, in a list that is empty if the run does not.

    In two stages of training it is for the one with frozen layers.
    """
    options = make_options(TrainingOptions, run.config.get("training", {}), "section 'training'")
    if not options.features_once or (run.stages is not None and not run.config["backbone"].get("frozen")):
        return []
    return [features_once.build(run, module, data)]


def build_switch(run: Run, module: Classifier) -> list[MethodSwitch]:
    """The callback of hybrid training, in a list that is empty if the run has one method."""
    options = make_options(SwitchOptions, run.config.get("switch", {}), "section 'switch'")
    return [] if options.to is None else [MethodSwitch(module, options)]
