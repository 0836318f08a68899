"""The data module of datasets that are streamed."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from datamodules.lanes import Lane, LaneSampler, LaneShare
from datamodules.options import StreamOptions
from datamodules.preprocessing import Preprocessing
from datamodules.sampler import EpochSampler
from datamodules.splits import Splits
from datamodules.streams import StreamedImages, StreamSource
from datamodules.transformed import TransformedDataModule
from gcp.errors import DataError


class Streams(NamedTuple):
    """What a streamed dataset consists of.

    Attributes:
        class_names: names of the classes; the position is the label.
        train: images to train on.
        test: images to test on.
        val: images to validate on; None: those of the test part.
        class_counts: number of training images of each class; None: not known without reading them.
    """

    class_names: list[str]
    train: StreamSource
    test: StreamSource
    val: StreamSource | None = None
    class_counts: np.ndarray | None = None


class StreamDataModule(TransformedDataModule):
    """A dataset that is read from beginning to end. A dataset is a subclass with ``open``.

    Every image of the training part is given once in an epoch over all devices and loading processes, but for the
    incomplete last batch of each device, in an order that is a pure function of seed, epoch, number of devices and
    number of loading processes, and another one in each epoch. Evaluation gives every image once; with several loading
    processes their batches take turns, each from a stretch of its own, so that nothing is read twice.
    """

    options: StreamOptions
    remedy = "mend it"
    """What to do about an image that is damaged, for messages."""

    @abstractmethod
    def open(self) -> Streams:
        """Find the parts; called once. Raises DataError for what can be known to be wrong without reading them."""

    @property
    def class_names(self) -> list[str]:
        """As `open` found them. Raises DataError before ``setup``."""
        return self._streams.class_names

    @property
    def class_counts(self) -> np.ndarray | None:
        """Number of training images of each class, if `open` could say."""
        return self._streams.class_counts

    def make_splits(self) -> Splits:
        """Find the parts."""
        self._opened = streams = self.open()
        if len(streams.class_names) < 2:
            raise DataError(f"there is one class only, {streams.class_names}, and nothing to tell it from; add others")
        sources = {"train": streams.train, "val": streams.val or streams.test, "test": streams.test}
        return Splits(**{part: self._images(source, part) for part, source in sources.items()})

    @property
    def finished(self) -> Preprocessing | None:
        """What made the images finished, so that no transform applies to them any more; None: they are pictures."""
        return None

    @property
    def validates_on_test(self) -> bool:
        """Whether there is no stream of images to validate on."""
        return self._streams.val is None

    def describe(self) -> str:
        """Classes and sizes; also that validation is on the test part."""
        return "; ".join([super().describe(), *["validated on the test part"] * self.validates_on_test])

    @property
    def _streams(self) -> Streams:
        if not hasattr(self, "_opened"):
            raise DataError(f"{type(self).__name__} has opened no streams yet; call setup() first")
        return self._opened

    def _images(self, source: StreamSource, part: str) -> StreamedImages:
        options = self.options
        return StreamedImages(
            source,
            self.transform(part),
            len(self._streams.class_names),
            options.seed,
            options.shuffle_buffer,
            options.decode_backend,
            self.remedy,
        )

    def _lane(self, dataset: StreamedImages, batch_size: int, training: bool) -> Lane:
        return Lane(
            len(dataset),
            batch_size,
            training,
            rank=self._rank(),
            devices=self._devices(),
            lanes=max(self.options.num_workers, 1),
        )

    def _train_sampler(self) -> EpochSampler:
        train = self.splits.train
        if not isinstance(train, StreamedImages):
            return super()._train_sampler()  # of features in memory
        options = self.options
        return LaneSampler(self._lane(train, options.batch_size, training=True), options.seed, options.shuffle_buffer)

    def _eval_sampler(self, dataset: Dataset[Any], batch_size: int) -> Sampler[Any] | None:
        if not isinstance(dataset, StreamedImages):
            return super()._eval_sampler(dataset, batch_size)
        return LaneShare(self._lane(dataset, batch_size, training=False))
