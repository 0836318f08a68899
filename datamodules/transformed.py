"""The data module of datasets of pictures of any size, which a transform with a name makes into images."""

from __future__ import annotations

from datamodules.base import ImageDataModule
from datamodules.options import TransformOptions
from datamodules.preprocessing import Preprocessing
from datamodules.transforms.building import Normal, Transform, create_transform
from datamodules.transforms.names import TRANSFORMS
from gcp.backbones.imagenet import MEAN, STD


class TransformedDataModule(ImageDataModule):
    """A dataset whose options name a transform and say what images are normalised by."""

    options: TransformOptions

    @property
    def transform_name(self) -> str:
        """Name of the transform."""
        return self.options.transform

    @property
    def image_size(self) -> int:
        """The option's, or else the transform's own."""
        return self.options.image_size or TRANSFORMS.get(self.transform_name).image_size

    @property
    def varies(self) -> bool:
        """Whether the transform is random."""
        return TRANSFORMS.get(self.transform_name).random

    @property
    def preprocessing(self) -> Preprocessing:
        """The transform of the test part, one view."""
        resize = TRANSFORMS.get(self.transform_name).resized(self.image_size)
        sides = None if resize is None else [resize] if isinstance(resize, int) else list(resize)
        mean, std = self._normal
        return Preprocessing(self.image_size, self.class_names, list(mean), list(std), sides)

    def transform(self, part: str) -> Transform:
        """What happens to the pictures of "train", "val" or "test"."""
        options = self.options
        return create_transform(self.transform_name, part, options.image_size, options.protocol, self._normal)

    @property
    def _normal(self) -> Normal:
        mean, std = self.options.mean, self.options.std
        return (MEAN, STD) if mean is None or std is None else (mean, std)
