"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), by torchvision."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets

from datamodules.augmented import Source
from datamodules.files import FileDataModule, Listing
from datamodules.location import Archive, Layout
from datamodules.official import Official, check_counts
from datamodules.records import Records
from datamodules.stored import StoredImages, stored_records
from gcp.errors import DataError


class CIFAR10DataModule(FileDataModule):
    """10 classes, 50,000 and 10,000 images of 32 x 32 pixels, in memory."""

    name = "cifar10"
    official = Official(10, train=50_000, test=10_000)
    reader = datasets.CIFAR10
    layout = Layout(
        markers=(("cifar-10-batches-py",),),
        archives=(Archive(datasets.CIFAR10.filename, datasets.CIFAR10.tgz_md5, datasets.CIFAR10.url),),
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
    )

    def read(self, root: Path) -> Listing:
        """Both parts into memory, checked against the published sums."""
        self._pixels: dict[str, Tensor] = {}
        parts = []
        for part in ("train", "test"):
            try:
                stored = self.reader(root, train=part == "train")
            except (RuntimeError, OSError):
                folder = root / self.reader.base_folder
                raise DataError(
                    f"{folder} lacks a file, or one has another MD5 sum than was published; delete the folder, and "
                    "restore it from the archive or with data.download=true"
                ) from None
            self._pixels[part] = torch.from_numpy(stored.data).permute(0, 3, 1, 2)
            parts.append(stored_records(part, stored.targets))
        return Listing(list(stored.classes), *parts)

    def check(self, root: Path, class_names: list[str], parts: dict[str, Records]) -> None:
        """The sums have been checked, and there are no files for single images."""
        if self.options.check:
            check_counts(self.name, self.official, class_names, parts)

    def source(self, records: Records) -> Source:
        """Images in memory."""
        return StoredImages(self._pixels, records)


class CIFAR100DataModule(CIFAR10DataModule):
    """100 classes, 50,000 and 10,000 images of 32 x 32 pixels, in memory."""

    name = "cifar100"
    official = Official(100, train=50_000, test=10_000)
    reader = datasets.CIFAR100
    layout = Layout(
        markers=(("cifar-100-python",),),
        archives=(Archive(datasets.CIFAR100.filename, datasets.CIFAR100.tgz_md5, datasets.CIFAR100.url),),
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
    )
