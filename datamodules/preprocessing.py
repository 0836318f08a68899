"""From a picture to what the network was trained with: size, scale and the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, normalize, resize, to_dtype

from gcp.errors import DataError, OptionError
from gcp.options import check_type

LARGEST = 2**14  # pixels of a side, and of the side before the centre is cut out
NEEDED = ("image_size", "class_names", "mean", "std")


@dataclass(frozen=True)
class Preprocessing:
    """What a dataset does to its images, in plain numbers and words, so that a checkpoint can hold it.

    Attributes:
        image_size: height and width in pixels.
        class_names: names of the classes; the position is the label.
        mean: of each channel, for values from 0 (black) to 1; None: every image by its own mean and deviation.
        std: standard deviation of each channel, likewise.
        resize: length of the short side, or height and width, before the centre is cut out; None: image_size itself.
        fractions: images are resized as fractions of white, as those of a dataset without files; else in 256 levels.
    """

    image_size: int
    class_names: list[str]
    mean: list[float] | None
    std: list[float] | None
    resize: list[int] | None = None
    fractions: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W), or floating-point values from 0 to 1, to normalised float32 (3, image_size, image_size)."""
        if self.fractions:
            image = to_dtype(image, torch.float32, scale=True)
        image = to_dtype(self._sized(image), torch.float32, scale=True)
        if self.mean is None or self.std is None:
            variance, mean = torch.var_mean(image, dim=(1, 2), correction=0, keepdim=True)
            return (image - mean) * torch.where(variance > 0, variance, torch.inf).rsqrt()
        normal: Tensor = normalize(image, self.mean, self.std)
        return normal

    def _sized(self, image: Tensor) -> Tensor:
        size = self.image_size
        image = resize(image, self.resize or [size, size], antialias=True)
        cropped: Tensor = center_crop(image, [size, size])
        return cropped

    def plain(self) -> dict[str, Any]:
        """As a dictionary; ``Preprocessing(**plain)`` is the same again."""
        return asdict(self)


def read_preprocessing(plain: Mapping[str, Any], num_classes: int) -> Preprocessing | None:
    """What somebody else's description of a network says of its images; None if it leaves out one of NEEDED.

    Args:
        plain: as `Preprocessing.plain` gives it.
        num_classes: of the network.

    Raises DataError for values of another kind, or names of more or fewer classes.
    """
    if any(name not in plain for name in NEEDED):
        return None
    hints = get_type_hints(Preprocessing)
    try:
        for name, value in plain.items():
            if name not in hints:
                raise OptionError(f"it has {name!a}, which means nothing here")
            check_type(name, value, hints[name])
    except OptionError as error:
        raise DataError(f"the network's preprocessing is not what gcp writes: {' '.join(str(error).split())}") from None
    found = Preprocessing(**plain)
    sizes = [found.image_size, *(found.resize or [])]
    channels = [len(values) for values in (found.mean, found.std) if values is not None]
    if not all(0 < size <= LARGEST for size in sizes) or len(sizes) > 3 or channels not in ([], [3, 3]):
        raise DataError(
            f"the network's preprocessing is of no images: sizes {sizes}, mean and deviation of {channels} channels"
        )
    if len(found.class_names) != num_classes:
        raise DataError(
            f"the network's preprocessing names {len(found.class_names)} classes, and it tells {num_classes} apart"
        )
    return found
