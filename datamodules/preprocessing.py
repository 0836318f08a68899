"""From a picture to what the network was trained with: size, scale and the names of the classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """What a dataset does to its images, in plain numbers and words, so that a checkpoint can hold it.

    Attributes:
        image_size: height and width in pixels.
        class_names: names of the classes; the position is the label.
        mean: of each channel, for values from 0 (black) to 1; none: every image by its own mean and deviation.
        std: standard deviation of each channel, likewise.
    """

    image_size: int
    class_names: list[str]
    mean: list[float] | None
    std: list[float] | None

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) with values from 0 to 1, to normalised (3, image_size, image_size)."""
        size = (self.image_size, self.image_size)
        image = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
        if self.mean is None or self.std is None:
            variance, mean = torch.var_mean(image, dim=(1, 2), correction=0, keepdim=True)
            return (image - mean) * torch.where(variance > 0, variance, torch.inf).rsqrt()
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (image - mean) / std

    def plain(self) -> dict[str, Any]:
        """As a dictionary; ``Preprocessing(**plain)`` is the same again."""
        return asdict(self)
