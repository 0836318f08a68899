"""Fashion-MNIST (Xiao et al., arXiv 1708.07747): from its own address, as torchvision or Debian keep it."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from datamodules.augmented import Source
from datamodules.checks import check_labels
from datamodules.files import FileDataModule, Listing
from datamodules.location import VARIABLE, Archive, Layout
from datamodules.official import Official, check_counts
from datamodules.records import Records
from datamodules.stored import StoredImages, stored_records
from gcp.errors import DataError

FOLDER = "FashionMNIST/raw"  # torchvision's
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
PARTS = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
FILES = tuple(f"{part}-{kind}" for part in PARTS.values() for kind in (IMAGES, LABELS))
PACKED = tuple(f"{file}.gz" for file in FILES)
SIZE = 28
# MD5 sums of what the official archives hold. They are packed otherwise by Debian, which gives other sums of archives.
SUMS = dict(
    zip(
        FILES,
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        strict=True,
    )
)


class FashionMNISTDataModule(FileDataModule):
    """10 classes, 60,000 and 10,000 grey images of 28 x 28 pixels, in memory."""

    name = "fashion_mnist"
    official = Official(10, train=60_000, test=10_000)
    sums = SUMS
    layout = Layout(
        markers=tuple(
            tuple(f"{folder}{file}" for file in files) for folder in (f"{FOLDER}/", "") for files in (FILES, PACKED)
        ),
        archives=tuple(Archive(file, url=f"{FashionMNIST.mirrors[0]}{file}", extracted=False) for file in PACKED),
        source="https://github.com/zalandoresearch/fashion-mnist",
    )

    def root(self) -> Path:
        """That of Debian's package, where it is installed and nothing else is said."""
        return self.chosen_root(DEBIAN, f"install Debian's package dataset-fashion-mnist, set data.root or {VARIABLE}")

    def read(self, root: Path) -> Listing:
        """Both parts into memory; the contents are compared with those published, however they are packed."""
        folder = root / FOLDER if (root / FOLDER).is_dir() else root
        self._pixels: dict[str, Tensor] = {}
        parts = []
        for part, name in PARTS.items():
            pixels = self._contents(folder, f"{name}-{IMAGES}")[16:]  # after magic number, count, height and width
            labels = self._contents(folder, f"{name}-{LABELS}")[8:]  # after magic number and count
            self._pixels[part] = torch.from_numpy(pixels.reshape(-1, 1, SIZE, SIZE))
            parts.append(stored_records(part, labels.tolist()))
        return Listing(list(FashionMNIST.classes), *parts)

    def check(self, root: Path, class_names: list[str], parts: dict[str, Records]) -> None:
        """The sums have been checked, and there are no files for single images."""
        check_labels(class_names, parts)
        if self.options.check:
            check_counts(self.name, self.official, class_names, parts)

    def source(self, records: Records) -> Source:
        """Images in memory."""
        return StoredImages(self._pixels, records)

    def _contents(self, folder: Path, name: str) -> np.ndarray:
        file = folder / name
        try:
            if file.exists():
                contents = file.read_bytes()
            else:
                file = folder / f"{name}.gz"
                contents = gzip.decompress(file.read_bytes())
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{file} is damaged ({error}); delete it and fetch it again") from None
        found = hashlib.md5(contents, usedforsecurity=False).hexdigest()
        if found != self.sums.get(name, found):
            raise DataError(
                f"{file} is damaged or another file: the MD5 sum of what it holds is {found}, expected "
                f"{self.sums[name]}; delete it and fetch it again"
            )
        return np.frombuffer(bytearray(contents), dtype=np.uint8)
