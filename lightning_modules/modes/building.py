"""Data and network of a run, built from its configuration or from a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import ImageDataModule
from datamodules.datasets import check_classes, create_datamodule
from datamodules.preprocessing import NEEDED, Preprocessing, read_preprocessing
from gcp.backbones.factory import feature_map_size
from gcp.checkpoints.loading import load_tensors
from gcp.errors import CheckpointError, DataError, OptionError
from gcp.options import make_options
from gcp.tensor_files import tensors_in
from lightning_modules import metric_names as names
from lightning_modules.classifier import Classifier
from lightning_modules.optimisation.class_weights import resolved_weights, unbalanced
from lightning_modules.run.checkpoint_names import FOLDER_KEY, HYPERPARAMETERS_KEY, PREPROCESSING_KEY
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.read_checkpoint import method_in, read, readable
from lightning_modules.run.spec import Run
from lightning_modules.settings.training import TrainingOptions
from lightning_modules.switching import set_method

SHOWN = 10  # files that are named one by one
PARTS = ("train", "val", "test")


def build_data(run: Run) -> ImageDataModule:
    """The dataset, set up: what can be wrong with it shows before anything is trained."""
    options = dict(run.config["data"])
    data = create_datamodule(options.pop("name"), **options)
    data.setup()
    check_classes(run.dataset, data)
    mode = run.config["mode"]
    if options.get("damaged") == "skip":
        needed = {"fit": PARTS, "shards": PARTS, "analyze": ("train",), "test": ("test",)}
        left_out = data.check_images(needed.get(mode, ()))
    elif mode == "shards" and run.config["shards"]["verify"]:
        left_out = data.check_images(PARTS)
    elif mode == "fit" and is_main_process():  # training images are met in the first epoch
        left_out = data.check_images(("val", "test"))
    else:
        left_out = {}
    if is_main_process() and mode in ("fit", "test", "shards"):
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
    """What the network's images looked like, if the checkpoint says.

    Raises DataError if it is a network's folder, which may be anybody's, and what it says makes no sense.
    """
    plain = checkpoint.get(PREPROCESSING_KEY)
    if plain is None:
        return None
    if FOLDER_KEY in checkpoint:
        return read_preprocessing(plain, checkpoint[HYPERPARAMETERS_KEY]["num_classes"])
    return Preprocessing(**plain)


def preprocessing_of(run: Run, checkpoint: dict[str, Any]) -> Preprocessing:
    """What the network's images looked like: from the checkpoint, or else from the dataset itself.

    Raises DataError if neither says.
    """
    found = stored_preprocessing(checkpoint)
    if found is None and FOLDER_KEY in checkpoint:
        raise DataError(
            f"{run.config['ckpt_path']} lies in a folder that does not say how pictures are prepared; save the network "
            f"with facts={{'preprocessing': ...}} that has {', '.join(NEEDED)}"
        )
    found = found or build_data(run).preprocessing
    if found is None:
        raise DataError(
            f"the dataset '{run.dataset}' does not say how its images are normalised, so pictures cannot be made like "
            "them; give its data module the property preprocessing"
        )
    return found


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
