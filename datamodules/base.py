"""The data module all datasets share: loaders, order of training and batch sizes in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from datamodules.checks import check_batch_labels
from datamodules.loader import ImageLoader, ResumableLoader, process_options
from datamodules.options import DataOptions
from datamodules.preprocessing import Preprocessing
from datamodules.sampler import EpochSampler, ShareSampler
from datamodules.seeding import private_generator
from datamodules.splits import Splits
from gcp.errors import DataError, PluginError, few

SHOWN = 10  # classes a line names; of more, half of that


class ImageDataModule(pl.LightningDataModule, ABC):
    """Labelled images in three parts. A dataset is a subclass with ``class_names`` and ``make_splits``.

    Batches are pairs of normalised float32 images (B, 3, H, W), in the test part also (B, K, 3, H, W) with K views of
    each image, and int64 labels (B,) in ``0 .. num_classes - 1``.

    Training batches are all of ``batch_size`` images: the incomplete last one of an epoch is dropped (the order changes
    with the epoch, so other images are left out each time), because batch normalisation fails on a single image and
    is poor on a few. Only when the training part is smaller than ``batch_size`` is it used, as one batch. Evaluation
    drops nothing and keeps the order.

    With several devices ``batch_size`` is that of each, and each gets its share of every part (see `sampler`), so the
    Trainer must not put samplers of its own in: ``use_distributed_sampler=False``.

    Args:
        options: the dataset's options.
    """

    def __init__(self, options: DataOptions) -> None:
        super().__init__()
        self.options = options
        self._splits: Splits | None = None

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes; the position is the label."""

    @abstractmethod
    def make_splits(self) -> Splits:
        """Read or generate the images; called once, by the first ``setup``."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures from elsewhere become images of this dataset, after ``setup``; None: it does not say."""
        return None

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.options.image_size

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def varies(self) -> bool:
        """Whether a training image may be another one in each epoch, as augmentation makes it."""
        return not isinstance(self.splits.train, TensorDataset)

    def replace(self, splits: Splits) -> None:
        """Give other tensors of the same images from now on, such as their features."""
        self._splits = splits

    @property
    def train_labels(self) -> np.ndarray | None:
        """Labels of the training images; None: known only when these are read."""
        train = self.splits.train
        return train.tensors[1].numpy() if isinstance(train, TensorDataset) else None

    @property
    def class_counts(self) -> np.ndarray | None:
        """Number of training images of each class; None: not known."""
        labels = self.train_labels
        return None if labels is None else np.bincount(labels, minlength=self.num_classes)

    @property
    def splits(self) -> Splits:
        """The three parts. Raises DataError before ``setup``."""
        if self._splits is None:
            raise DataError(f"{type(self).__name__} holds no images yet; call setup() first")
        return self._splits

    def setup(self, stage: str | None = None) -> None:
        """Make the three parts, once for all stages.

        Raises:
            DataError: a part is empty, the training part holds a single image, which nothing can be learnt from, or a
                label names no class.
        """
        if self._splits is not None:
            return
        splits = self.make_splits()
        if not isinstance(splits, Splits):
            raise PluginError(
                f"make_splits of {type(self).__name__} must give datamodules.splits.Splits(train, val, test), got "
                f"{type(splits).__name__}"
            )
        self._refuse_small(splits)
        self._refuse_labels(splits)
        self._splits = splits

    @property
    def validates_on_test(self) -> bool:
        """Whether the images of the validation part are those of the test part, for want of others."""
        return False

    def check_images(self, parts: Sequence[str]) -> dict[str, str]:
        """Read the images of ``parts`` ahead, where they are files: those left out, see `FileDataModule`."""
        return {}

    def describe(self) -> str:
        """Classes and sizes of the parts, in a line; after ``setup``."""
        names, sizes = self.class_names, [len(part) for part in self.splits]  # type: ignore[arg-type]  # as below
        named = ", ".join(names if len(names) <= SHOWN else [*names[: SHOWN // 2], "..."])
        train, val, test = (f"{size:,}" for size in sizes)
        return f"{len(names)} classes ({named}); {train} training, {val} validation, {test} test images"

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Refuse labels that name no class, while they are in the memory of the CPU."""
        check_batch_labels(batch[1], self.num_classes)
        return batch

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the training part, shuffled by (seed, epoch), resumable inside an epoch."""
        sampler = self._train_sampler()
        if len(sampler) < 2:
            raise self._too_few("train", self._train_size())
        drop_last = self._train_share() >= self.options.batch_size
        return ResumableLoader(
            self.splits.train, self.options.batch_size, sampler=sampler, drop_last=drop_last, **self._loading()
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation part, in order."""
        return self._eval_loader("val", self.splits.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of the test part, in order."""
        return self._eval_loader("test", self.splits.test)

    def _refuse_small(self, splits: Splits) -> None:
        for part, dataset in splits._asdict().items():
            needed = 2 if part == "train" else 1
            size = len(dataset)
            if size < needed:
                raise DataError(f"the {part} part needs at least {needed} image(s), {type(self).__name__} gave {size}")

    def _refuse_labels(self, splits: Splits) -> None:
        """Those of images in memory; of others each batch tells."""
        classes = self.num_classes
        if classes != len(self.class_names):
            raise PluginError(
                f"{type(self).__name__} has {classes} classes and {len(self.class_names)} class_names; mend it"
            )
        for part, dataset in splits._asdict().items():
            labels = dataset.tensors[1] if isinstance(dataset, TensorDataset) else None
            wrong = [] if labels is None else sorted(set(labels[(labels < 0) | (labels >= classes)].tolist()))
            if wrong:
                raise DataError(
                    f"the {part} part of {type(self).__name__} holds the label {few(wrong)}, and its {classes} classes "
                    f"have 0 to {classes - 1}; mend the labels or class_names"
                )

    def _eval_loader(self, part: str, dataset: Dataset[Any]) -> DataLoader[Any]:
        size = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
        if size < self._devices():
            raise self._too_few(part, size)
        batch_size = self.options.eval_batch_size or self.options.batch_size
        return ImageLoader(dataset, batch_size, sampler=self._eval_sampler(dataset, batch_size), **self._loading())

    def _train_sampler(self) -> EpochSampler:
        """What chooses the images of this device from the training part."""
        return EpochSampler(self._train_size(), self.options.seed, 0, self._rank(), self._devices())

    def _eval_sampler(self, dataset: Dataset[Any], batch_size: int) -> Sampler[Any] | None:
        """What chooses the images of this device from a part that is evaluated; None: it evaluates all, in order."""
        size = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
        return ShareSampler(size, self._rank(), self._devices()) if self._devices() > 1 else None

    def _loading(self) -> dict[str, Any]:
        workers = self.options.num_workers
        return {
            **process_options(workers),
            "persistent_workers": workers > 0,  # starting processes anew for every epoch takes seconds
            "pin_memory": self.options.pin_memory,
            "generator": private_generator(self.options.seed),  # a loader without one draws from torch's global stream
        }

    def _train_size(self) -> int:
        return len(self.splits.train)  # type: ignore[arg-type]  # torch's Dataset declares no length

    def _train_share(self) -> int:
        """Training images of one device; see `EpochSampler`."""
        return self._train_size() // self._devices()

    def _too_few(self, part: str, size: int) -> DataError:
        return DataError(f"the {part} part holds {size} image(s), too few for {self._devices()} devices; use fewer")

    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _devices(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size
