"""Datasets that are read from beginning to end, because they are too large or too far away for anything else.

A stream is asked for its images in the order it gives them, lane by lane (see `datamodules.lanes`); any other order
works too, and reads from the beginning for each step back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augmented import augmented
from datamodules.decoding import decode_contents
from datamodules.lanes import Lane, Turn, buffered_order
from datamodules.transforms.building import Transform
from gcp.errors import DataError

AHEAD = 4096  # images that are read past rather than opening the stream anew


class Sample(NamedTuple):
    """A labelled image as a stream holds it.

    Attributes:
        content: what the image's file holds, or uint8 (3, H, W).
        label: 0 .. number of classes - 1.
        position: which image of the part it is, whatever the order: its augmentation depends on it.
        name: what a person finds it by, for messages: "KEY in train-000003.tar".
    """

    content: bytes | Tensor
    label: int
    position: int
    name: str


class StreamSource(Protocol):
    """Labelled images of one part, to be read in order."""

    def __len__(self) -> int:
        """Number of images, known without reading them."""

    def read(self, lane: Lane, wanted: Sequence[int]) -> Iterator[Sample]:
        """The samples at the places ``wanted`` of ``lane``, which increase.

        Where the lane's places lie in the stream is the source's own choice: a contiguous range (`Lane.start`), or
        dealt out (`Lane.dealt`). Different lanes of an epoch must have no image in common, and in an evaluation all
        must come. The order of a training stream may change with ``lane.epoch``, and is a pure function of the lane.

        Raises DataError for what cannot be read, or has ended early.
        """


class StreamedImages(Dataset[tuple[Tensor, int]]):
    """A stream behind a transform, as a dataset whose images are cheap in the order they are asked for.

    What is random in the transform is a pure function of (seed, epoch, position), as in `AugmentedImages`.

    Args:
        source: the stream.
        transform: see `datamodules.transforms`.
        classes: number of classes.
        seed: seed of the order and of what is random in the transform.
        buffer: images each lane draws the next one from in training.
        backend: what decodes images.
        remedy: what to do about an image that is damaged, for messages.
    """

    def __init__(
        self,
        source: StreamSource,
        transform: Transform,
        classes: int,
        seed: int = 0,
        buffer: int = 1,
        backend: str = "torchvision",
        remedy: str = "mend it",
    ) -> None:
        self.source = source
        self.transform = transform
        self.classes = classes
        self.seed = seed
        self.buffer = buffer
        self.backend = backend
        self.remedy = remedy
        self._reading: _Reading | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Turn | int) -> tuple[Tensor, int]:
        """The image whose turn it is, or the one at a position of the stream as it is stored."""
        sample, epoch = self.sample(index)
        if not 0 <= sample.label < self.classes:
            raise DataError(
                f"{sample.name} has the label {sample.label}, and the {self.classes} classes have 0 to "
                f"{self.classes - 1}; {self.remedy}"
            )
        image = sample.content
        if isinstance(image, bytes):
            image = decode_contents(image, sample.name, self.backend, self.remedy)
        return augmented(image, self.transform, self.seed, epoch, sample.position), sample.label

    def sample(self, index: Turn | int) -> tuple[Sample, int]:
        """The sample behind `__getitem__`, as it is stored, and the epoch it is loaded in."""
        if isinstance(index, Turn):
            lane, number = index
        else:  # without a sampler of ours: Lightning's overfit_batches, features that are computed once
            number = range(len(self))[index]  # negative ones; IndexError
            lane = Lane(len(self), 1, training=False, epoch=getattr(index, "epoch", 0))
        if self._reading is None or not self._reading.reaches(lane, number):
            self._reading = _Reading(self.source, lane, number, self.buffer, self.seed)
        return self._reading.at(number), lane.epoch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None}  # what is open stays in its process


class _Reading:
    """A lane that is being read, from its image ``number`` on."""

    def __init__(self, source: StreamSource, lane: Lane, number: int, buffer: int, seed: int) -> None:
        self.lane = lane
        self.process = os.getpid()
        self.number = number  # of the image that is due
        shuffled = lane.training and buffer > 1
        self.order: Sequence[int] = buffered_order(lane, buffer, seed).tolist() if shuffled else range(lane.size)
        self.wanted = iter(wanted := np.sort(self.order[number:]).tolist() if shuffled else self.order[number:])
        self.samples = source.read(lane, wanted)
        self.held: dict[int, Sample] = {}  # by place

    def reaches(self, lane: Lane, number: int) -> bool:
        """Whether the image is of this lane, and near in front.

        In a forked process it is not: the place in an open file is shared with the one that opened it.
        """
        near = self.number <= number <= self.number + AHEAD
        return lane == self.lane and near and self.process == os.getpid()

    def at(self, number: int) -> Sample:
        while self.number <= number:
            place = self.order[self.number]
            while place not in self.held:
                following = next(self.wanted)
                self.held[following] = self._next()
            sample = self.held.pop(place)
            self.number += 1
        return sample

    def _next(self) -> Sample:
        for sample in self.samples:
            return sample
        raise DataError(
            f"a stream of {self.lane.length:,} images has ended early, as if it were shorter; state its right length"
        )
