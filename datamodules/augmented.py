"""Images from a source, transformed, with randomness that belongs to the image and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.decoding import decode
from datamodules.records import Record, Records
from datamodules.seeding import private_seed
from datamodules.transforms.building import Transform
from gcp.errors import DataError


class Source(Protocol):
    """Labelled images as they are stored."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """uint8 (3, H, W), and the label."""


class FileSource:
    """Image files, read when they are asked for."""

    def __init__(self, records: Iterable[Record], backend: str) -> None:
        self.records = Records.of(records)
        self.backend = backend

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        path, label, box = self.records[position]
        image = self.image(path)
        if box is not None:
            left, upper, right, lower = box
            image = image[:, max(upper, 0) : lower, max(left, 0) : right]
            if not image.numel():
                raise DataError(f"the box {box} cuts nothing out of {path}; restore the annotation from the archive")
        return image, label

    def image(self, path: Path) -> Tensor:
        """All of the image of a record: uint8 (3, H, W). Raises ImageError."""
        return decode(path, self.backend)

    def contents(self, path: Path) -> bytes:
        """The image of a record as it is stored. Raises DataError if it cannot be read."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(
                f"the image {path} cannot be read ({error.strerror}); restore it from the archive"
            ) from None


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """A source behind a transform.

    What is random in the transform is a pure function of (seed, epoch, position): workers, devices, resumed runs and
    the order of loading change nothing. The epoch comes with the position, see `datamodules.sampler.EpochPosition`.
    """

    def __init__(self, source: Source, transform: Transform, seed: int = 0) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        image, label = self.source[position]
        return augmented(image, self.transform, self.seed, getattr(position, "epoch", 0), int(position)), label


def augmented(image: Tensor, transform: Transform, seed: int, epoch: int, position: int) -> Tensor:
    """``transform(image)``; what is random in it is a pure function of (seed, epoch, position)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(private_seed(seed, epoch, position))
        return transform(image)
