"""What frozen stages give for each image, computed once and trained on from there."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from datamodules.archives import CONSOLE
from datamodules.base import ImageDataModule
from datamodules.checks import check_memory
from datamodules.loader import ImageLoader, process_options
from datamodules.splits import Splits
from gcp.backbones.feature_map import Freezable
from gcp.errors import OptionError
from lightning_modules import metric_names as names
from lightning_modules.callbacks.kept_features import Compute, kept_features
from lightning_modules.classifier import Classifier
from lightning_modules.run.spec import Run

OPTION = "training.features_once"


def build(run: Run, module: Classifier, data: ImageDataModule) -> FeaturesOnce:
    """The callback of ``training.features_once``. Raises OptionError where it would change what is computed."""
    training, trainer = run.config["training"], run.config["trainer"]
    backbone = module.model.features
    if not isinstance(backbone, Freezable) or not backbone.frozen:
        raise OptionError(f"{OPTION} needs frozen stages to compute the features of; set backbone.frozen")
    if data.varies:
        raise OptionError(
            f"{OPTION} needs training images that are the same in each epoch, and those of '{run.dataset}' are not, or "
            "its data module does not say; use data.transform=plain224"
        )
    mixed = [name for name in ("mixup", "cutmix") if training.get(name)]
    if mixed:
        raise OptionError(
            f"{OPTION} computes features of single images, and training.{mixed[0]} mixes them; choose one"
        )
    if trainer["precision"] != "32-true":
        raise OptionError(f"{OPTION} keeps features in float32; use trainer.precision=32-true")
    folder = training["features_folder"]
    return FeaturesOnce(None if folder is None else Path(folder))


class FeaturesOnce(Callback):
    """Before training, puts the features of the frozen stages in the place of the images of all parts.

    That changes nothing but the time, up to the rounding of other batches: frozen stages are in evaluation mode and
    are given the same images in each epoch. It is tried out on the first batch, and an architecture whose stages are no
    chain is refused.

    Args:
        folder: where the features are kept for other runs; None: nowhere.

    Attributes:
        seconds: what it took.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.seconds: float | None = None

    @property
    def summary_entries(self) -> dict[str, Any]:
        """The time it took, for the summary."""
        return {names.FEATURES_SECONDS: self.seconds}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the weights of a resumed run have been restored. Raises OptionError if it cannot be exact."""
        if trainer.world_size > 1:
            raise OptionError(f"{OPTION} is for one device; use trainer.devices=1")
        assert isinstance(pl_module, Classifier)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        backbone = pl_module.model.features
        assert isinstance(backbone, Freezable)
        start = perf_counter()
        training = backbone.training
        backbone.eval()
        _try(backbone, data, pl_module.device)
        device = pl_module.device
        data.replace(Splits(*(self._features(backbone, part, name, data, device) for name, part in _parts(data))))
        backbone.train(training)
        backbone.skip_frozen()
        self.seconds = perf_counter() - start

    def _features(
        self, backbone: Freezable, part: Dataset[Any], name: str, data: ImageDataModule, device: torch.device
    ) -> TensorDataset:
        def compute(images: Tensor) -> Tensor:
            return backbone.frozen_features(images.to(device)).cpu()

        if self.folder is None:
            return _features(compute, part, name, data)
        with kept_features(self.folder, backbone, part[0][0].shape[-3:]) as kept:
            return _features(lambda images: kept.of(images, compute), part, name, data)


def _parts(data: ImageDataModule) -> list[tuple[str, Dataset[Any]]]:
    return list(data.splits._asdict().items())


def _loader(data: ImageDataModule, part: Dataset[Any]) -> ImageLoader:
    size = data.options.eval_batch_size or data.options.batch_size
    return ImageLoader(part, size, **process_options(data.options.num_workers))


@torch.no_grad()
def _try(backbone: Freezable, data: ImageDataModule, device: torch.device) -> None:
    """Raise OptionError unless the other stages make of the features what the whole backbone makes of images."""
    images = torch.stack([data.splits.train[position][0] for position in range(2)]).to(device)
    whole, features = backbone(images), backbone.frozen_features(images)
    backbone.skip_frozen()
    try:
        same = torch.equal(backbone(features), whole)
    except Exception:  # an architecture that does something else with its images fails in any way
        same = False
    finally:
        backbone.skip_frozen(False)
    if not same:
        raise OptionError(f"the stages of this backbone are no chain, which {OPTION} needs; leave it out")


def _features(compute: Compute, part: Dataset[Any], name: str, data: ImageDataModule) -> TensorDataset:
    """The features and labels of a part, in order; of several views of an image, those of each."""
    found: Tensor | None = None
    labels = []
    size = len(part)  # type: ignore[arg-type]  # torch's Dataset declares no length
    shown = track(
        _loader(data, part), f"features of {size:,} {name} images", console=CONSOLE, transient=True,
        disable=not CONSOLE.is_terminal,
    )  # fmt: skip
    done = 0
    for images, targets in shown:
        views = images.reshape(-1, *images.shape[-3:])  # (B K, 3, H, W)
        features = compute(views)
        features = features.reshape(*images.shape[:-3], *features.shape[1:])
        if found is None:
            check_memory(size * images[0, ..., 0, 0, 0].numel(), features.shape[-3], features.shape[-1])
            found = torch.empty(size, *features.shape[1:])
        found[done : done + len(images)] = features
        labels.append(targets)
        done += len(images)
    assert found is not None
    return TensorDataset(found, torch.cat(labels))
