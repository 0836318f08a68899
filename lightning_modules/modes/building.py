"""The parts every mode needs, built from a run's configuration."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich import get_console

from datamodules.base import ImageDataModule
from datamodules.datasets import check_classes, create_datamodule
from datamodules.preprocessing import Preprocessing
from gcp.backbones.factory import feature_map_size
from gcp.checkpoints.loading import load_tensors
from gcp.errors import CheckpointError, DataError, OptionError, PluginError
from gcp.options import make_options
from gcp.registry import resolve
from gcp.tensor_files import tensors_in
from lightning_modules import metric_names as names
from lightning_modules.callbacks import features_once
from lightning_modules.callbacks.averaging import Averaging
from lightning_modules.callbacks.method_switch import MethodSwitch
from lightning_modules.callbacks.progress import Bars
from lightning_modules.classifier import Classifier
from lightning_modules.distributed.sync_statistics import SyncStatistics
from lightning_modules.optimisation.class_weights import resolved_weights, unbalanced
from lightning_modules.run.checkpoint_names import PREPROCESSING_KEY
from lightning_modules.run.ranks import check_machines, is_main_process, under_slurm
from lightning_modules.run.read_checkpoint import method_in, read, readable
from lightning_modules.run.spec import Run
from lightning_modules.run.write_checkpoint import AtomicCheckpointIO
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.callbacks import CALLBACKS, options_of_callback, own_options
from lightning_modules.settings.loggers import LOGGERS, chosen_loggers
from lightning_modules.settings.training import SwitchOptions, TrainingOptions
from lightning_modules.switching import set_method

SHOWN = 10  # files that are named one by one
PROCESSES_PER_CORE = 4  # beyond it nothing moves


def build_data(run: Run) -> ImageDataModule:
    """The dataset, set up: what can be wrong with it shows before anything is trained."""
    options = dict(run.config["data"])
    data = create_datamodule(options.pop("name"), **options)
    data.setup()
    check_classes(run.dataset, data)
    mode = run.config["mode"]
    if options.get("damaged") == "skip":
        needed = {"fit": ("train", "val", "test"), "analyze": ("train",), "test": ("test",)}
        left_out = data.check_images(needed.get(mode, ()))
    elif mode == "fit" and is_main_process():  # training images are met in the first epoch
        left_out = data.check_images(("val", "test"))
    else:
        left_out = {}
    if is_main_process() and mode in ("fit", "test"):
        print(f"{run.dataset}: {data.describe()}")
        name_left_out(left_out)
    return data


def name_left_out(failures: dict[str, str]) -> None:
    """Name files that are left out because they cannot be read, with the reasons, and count them if they are many."""
    for file in list(failures)[:SHOWN]:
        print(f"left out {file}: {failures[file]}", file=sys.stderr)
    if len(failures) > SHOWN:
        print(f"left out {len(failures) - SHOWN:,} more images that cannot be read", file=sys.stderr)


def build_classifier(run: Run, data: ImageDataModule) -> Classifier:
    """The network for this dataset, to be trained.

    Raises ShapeError if the images are too small for it, OptionError if its layers are conditioned and sharded.
    """
    options = make_options(TrainingOptions, run.config.get("training", {}), "section 'training'")
    counts = data.class_counts
    module = _classifier(
        run,
        data.num_classes,
        class_weights=resolved_weights(options.class_weights, counts),
        balanced_metrics=_balanced(options.balanced_metrics, run.config["callbacks"].get("monitor"), counts),
    )
    strategy = str(run.config["trainer"]["strategy"])
    if module.conditioning.names and strategy.startswith(("fsdp", "deepspeed")):
        wanted = module.conditioning.options.conditioning[0]
        raise OptionError(
            f"training.{wanted} needs whole weights on each device; trainer.strategy={strategy} shares them out"
        )
    feature_map_size(module.model.features, data.image_size)
    return module


def trained_classifier(run: Run, checkpoint: dict[str, Any]) -> Classifier:
    """The network of a checkpoint, in evaluation mode, without its dataset.

    Raises CheckpointError if the weights are of another network than the configuration.
    """
    module = _classifier(run, int(checkpoint[Classifier.CHECKPOINT_HYPER_PARAMS_KEY]["num_classes"]))
    load_weights(module, checkpoint, Path(run.config["ckpt_path"]))
    return module.eval()


def stored_preprocessing(checkpoint: dict[str, Any]) -> Preprocessing | None:
    """What the network's images looked like, if the checkpoint says."""
    plain = checkpoint.get(PREPROCESSING_KEY)
    return None if plain is None else Preprocessing(**plain)


def preprocessing_of(run: Run, checkpoint: dict[str, Any]) -> Preprocessing:
    """What the network's images looked like: from the checkpoint, or else from the dataset itself.

    Raises DataError if neither says.
    """
    found = stored_preprocessing(checkpoint) or build_data(run).preprocessing
    if found is None:
        raise DataError(
            f"the dataset '{run.dataset}' does not say how its images are normalised, so pictures cannot be made like "
            "them; give its data module the property preprocessing"
        )
    return found


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


def build_trainer(run: Run, callbacks: Sequence[Callback]) -> pl.Trainer:
    """Lightning's Trainer with the run's loggers and progress bars, writing into the run directory only."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # in-memory data needs none
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # a run directory that is resumed
    warnings.filterwarnings("ignore", ".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*dirpath has changed.*")  # a resumed run keeps its own best in its own place
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU.*")  # said below, once
    if run.config["backbone"].get("frozen"):
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # the frozen layers, on purpose
    bars: list[Callback] = [Bars()] if callback_options(run).progress_bar and get_console().is_terminal else []
    loggers = build_loggers(run)
    options = dict(run.config["trainer"])
    requeue = options.pop("requeue", True)
    check_machines(options["num_nodes"])
    plugins: list[Any] = [AtomicCheckpointIO()]
    plugins += [SLURMEnvironment(auto_requeue=requeue)] if under_slurm() else []
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


def load_checkpoint(module: Classifier, run: Run) -> None:
    """Load the network of the run's ``ckpt_path``, ours or a published one.

    Raises CheckpointError if it is of another architecture.
    """
    path = Path(run.config["ckpt_path"])
    if run.published:
        file = tensors_in(readable(path)[1], path)
        load_tensors(module.model, file, run.config["ckpt_triangle"], run.config["ckpt_classifier"])
    else:
        load_weights(module, read(path), path)


def build_switch(run: Run, module: Classifier) -> list[MethodSwitch]:
    """The callback of hybrid training, in a list that is empty if the run has one method."""
    options = make_options(SwitchOptions, run.config.get("switch", {}), "section 'switch'")
    return [] if options.to is None else [MethodSwitch(module, options)]


def _balanced(chosen: bool | None, monitor: str | None, counts: np.ndarray | None) -> bool:
    """Whether metrics of unbalanced data are computed. Raises OptionError if one is watched and they are not."""
    watched = monitor in names.MONITORED_BALANCED
    if watched and chosen is False:
        raise OptionError(
            f"callbacks.monitor={monitor} is not computed with training.balanced_metrics=false; leave out one of them"
        )
    return (watched or unbalanced(counts)) if chosen is None else chosen


def _classifier(run: Run, num_classes: int, **more: Any) -> Classifier:
    sections = ("backbone", "method", "optimizer", "schedule")
    return Classifier(
        num_classes=num_classes,
        training=run.config.get("training", {}),
        seed=run.seed,
        **more,
        **{section: run.config[section] for section in sections},
    )


def load_weights(module: Classifier, checkpoint: dict[str, Any], path: Path) -> None:
    """Load the network of a checkpoint, with its method if the run switched between two.

    Raises CheckpointError if it is of another architecture.
    """
    method = method_in(checkpoint)
    if method is not None and method != module.hparams["method"]:
        set_method(module, method)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        lines = str(error).strip().split("\n")
        raise CheckpointError(
            f"the weights in {path} are of another network ({len(lines) - 1} mismatches, first: {lines[-1].strip()})"
        ) from None


def count_parameters(module: Classifier) -> dict[str, int]:
    """Number of all parameters and of those that are trained, as the summary names them."""
    parameters = list(module.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {"params": sum(parameter.numel() for parameter in parameters), "params_trainable": trained}
