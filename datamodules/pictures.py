"""Pictures from files, for a network that is trained: finding, reading, batching them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.decoding import ENDINGS, ImageError, decode
from datamodules.preprocessing import Preprocessing
from datamodules.trees import images_below
from gcp.errors import DataError


class PictureBatch(NamedTuple):
    """Pictures that could be read, and those that could not.

    Attributes:
        images: (n, 3, H, W), n may be 0.
        files: the n files they are from.
        failures: the other files, each with the reason.
    """

    images: Tensor
    files: list[str]
    failures: list[tuple[str, str]]


def find_pictures(path: Path) -> list[Path]:
    """The file ``path``, or the images in that folder and below, in order of name.

    Raises DataError if there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"data.path={path} is neither an image nor a folder; give one that exists")
    found = sorted(map(Path, images_below(path)))
    if not found:
        raise DataError(f"the folder data.path={path} holds no images ({', '.join(ENDINGS)})")
    return found


class Pictures(Dataset[PictureBatch]):
    """Files as batches of one picture, which `join` puts together; what cannot be read is an empty batch.

    They are read and prepared as the images of a dataset are in training and testing.
    """

    def __init__(self, files: list[Path], preprocessing: Preprocessing, backend: str = "torchvision") -> None:
        self.files = files
        self.preprocessing = preprocessing
        self.backend = backend

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> PictureBatch:
        file = self.files[position]
        size = self.preprocessing.image_size
        try:
            image = decode(file, self.backend)
        except ImageError as error:
            return PictureBatch(torch.empty(0, 3, size, size), [], [(str(file), error.reason)])
        return PictureBatch(self.preprocessing(image)[None], [str(file)], [])


def join(batches: list[PictureBatch]) -> PictureBatch:
    """One batch of several; the ``collate_fn`` of a loader."""
    images, files, failures = zip(*batches, strict=True)
    return PictureBatch(torch.cat(images), list(chain(*files)), list(chain(*failures)))
