"""From a picture to what the network was trained with: size, scale and the names of the classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, resize


@dataclass(frozen=True)
class Preprocessing:
    """What a dataset does to its images, in plain numbers and words, so that a checkpoint can hold it.

    Attributes:
        image_size: height and width in pixels.
        class_names: names of the classes; the position is the label.
        mean: of each channel, for values from 0 (black) to 1; none: every image by its own mean and deviation.
        std: standard deviation of each channel, likewise.
        resize: length of the short side, or height and width, before the centre is cut out; none: image_size itself.
    """

    image_size: int
    class_names: list[str]
    mean: list[float] | None
    std: list[float] | None
    resize: list[int] | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) with values from 0 to 1, to normalised (3, image_size, image_size)."""
        image = self._sized(image)
        if self.mean is None or self.std is None:
            variance, mean = torch.var_mean(image, dim=(1, 2), correction=0, keepdim=True)
            return (image - mean) * torch.where(variance > 0, variance, torch.inf).rsqrt()
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (image - mean) / std

    def _sized(self, image: Tensor) -> Tensor:
        size = self.image_size
        image = resize(image, self.resize or [size, size], antialias=True)
        return center_crop(image, [size, size])

    def plain(self) -> dict[str, Any]:
        """As a dictionary; ``Preprocessing(**plain)`` is the same again."""
        return asdict(self)
