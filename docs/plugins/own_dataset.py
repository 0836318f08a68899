"""A dataset of one's own: gratings of several directions in noise, generated."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch.utils.data import TensorDataset

from datamodules.base import ImageDataModule
from datamodules.datasets import DatasetInfo, register_dataset
from datamodules.options import DataOptions
from datamodules.splits import Splits
from gcp.options import option


@dataclass(frozen=True)
class GratingsOptions(DataOptions):
    """Options of `gratings`, beside those of all datasets: batch_size, image_size, ..."""

    directions: int = option(4, "number of classes", minimum=2)
    noise: float = option(1.0, "standard deviation of the noise; the grating's amplitude is 1", minimum=0)


class Gratings(ImageDataModule):
    """Images (3, H, W) of about mean 0 and standard deviation 1; the label is the direction."""

    options: GratingsOptions

    @property
    def class_names(self) -> list[str]:
        """Degrees."""
        return [f"{180 * k / self.options.directions:g}" for k in range(self.options.directions)]

    def make_splits(self) -> Splits:
        """Training, validation and test part."""
        generator = torch.Generator().manual_seed(0)
        return Splits(*(self._part(images, generator) for images in (320, 80, 160)))

    def _part(self, images: int, generator: torch.Generator) -> TensorDataset:
        size = self.options.image_size
        labels = torch.arange(images) % self.options.directions
        angles = labels * pi / self.options.directions
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        along = angles.cos()[:, None, None] * columns + angles.sin()[:, None, None] * rows
        phases = 2 * pi * torch.rand(images, 1, 1, generator=generator)
        noise = self.options.noise * torch.randn(images, size, size, generator=generator)
        grey = (along + phases).sin() + noise
        return TensorDataset(grey[:, None].expand(-1, 3, -1, -1), labels)


register_dataset(
    DatasetInfo(
        "gratings",
        options=GratingsOptions,
        datamodule=Gratings,
        num_classes=4,
        summary="gratings of several directions in noise",
        source="generated",
    )
)
