"""Generated textures that only second-order statistics tell apart.

Every channel of every image has spatial mean 0 and variance 1, so averages of the pixels carry nothing. Classes are the
pairs of one colour correlation and one direction of elongation: knowing one of the two leaves half of the classes, or
more, to guess. A class fixes both only up to a spread of its own, so that a few images are ambiguous.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from datamodules.base import ImageDataModule
from datamodules.checks import check_memory
from datamodules.options import TexturesOptions
from datamodules.preprocessing import Preprocessing
from datamodules.seeding import private_generator
from datamodules.splits import Splits

DIRECTIONS = 2  # horizontal and vertical: a mirrored image keeps its class
GRAIN = (2.5, 1.0)  # standard deviations, in pixels, of the smoothing along and across the direction
CORRELATION = (0.45, 0.65)  # range of the strength of the colour correlation; positive definite below 0.73
SPREAD = 0.2  # standard deviation of an image's colour angle and direction, as a fraction of the step between classes
CHUNK = 32  # images generated at a time; a few stay in the processor's cache, which makes it three times faster


class TexturesDataModule(ImageDataModule):
    """Smoothed noise whose classes differ in channel covariance and in spatial correlation, and in nothing else.

    The images depend on ``generator_seed``, and each part has a stream of its own: changing the number of training
    images leaves the test images as they are.
    """

    options: TexturesOptions

    @property
    def class_names(self) -> list[str]:
        """Colour and direction of each class: "colour0-horizontal", "colour0-vertical", "colour1-horizontal", ..."""
        directions = ("horizontal", "vertical")
        return [f"colour{k // DIRECTIONS}-{directions[k % DIRECTIONS]}" for k in range(self.options.classes)]

    @property
    def preprocessing(self) -> Preprocessing:
        """Every channel of every image has mean 0 and variance 1."""
        return Preprocessing(self.options.image_size, self.class_names, mean=None, std=None, fractions=True)

    def make_splits(self) -> Splits:
        """Generate the three parts; labels go round, so the first batches hold every class."""
        options = self.options
        sizes = (options.train_per_class, options.val_per_class, options.test_per_class)
        check_memory(sum(sizes) * options.classes, 3, options.image_size)
        parts = []
        for part, per_class in enumerate(sizes):
            labels = torch.arange(options.classes).repeat(per_class)
            generator = private_generator(options.generator_seed, part)
            images = [
                make_textures(few, options.classes, options.image_size, generator) for few in torch.split(labels, CHUNK)
            ]
            parts.append(TensorDataset(torch.cat(images), labels))
        return Splits(*parts)


def make_textures(labels: Tensor, classes: int, size: int, generator: torch.Generator) -> Tensor:
    """One texture per label: white noise, mixed over channels, smoothed over space, then standardised.

    Args:
        labels: (N,) int64 classes.
        classes: number of classes the colour angles are spread over.
        size: height and width in pixels.
        generator: the only source of randomness.

    Returns:
        (N, 3, size, size) float32; every channel of every image has spatial mean 0 and variance 1.
    """
    n = len(labels)
    jitter = SPREAD * torch.randn(2, n, generator=generator)
    low, high = CORRELATION
    strength = low + (high - low) * torch.rand(n, generator=generator)
    colour_step = 2 * math.pi / math.ceil(classes / DIRECTIONS)
    mixing = _colour_mixing((labels // DIRECTIONS + jitter[0]) * colour_step, strength)
    response = _smoothing((labels % DIRECTIONS + jitter[1]) * (math.pi / DIRECTIONS), size)
    noise = torch.randn(n, 3, size * size, generator=generator)
    images = (mixing @ noise).view(n, 3, size, size)
    images = torch.fft.irfft2(torch.fft.rfft2(images) * response[:, None], s=(size, size))
    variance, mean = torch.var_mean(images, dim=(2, 3), correction=0, keepdim=True)
    standardised: Tensor = (images - mean) * variance.rsqrt()
    return standardised


def _colour_mixing(angle: Tensor, strength: Tensor) -> Tensor:
    """(N,) angles and strengths to the (N, 3, 3) factor of a correlation matrix.

    The three correlations are strength times the cosine of the angle and of the angle 120 and 240 degrees on: they add
    up to 0 and their sum of squares does not depend on the angle.
    """
    turns = torch.arange(3) * (2 * math.pi / 3)
    first, second, third = (strength[:, None] * torch.cos(angle[:, None] + turns)).unbind(1)
    one = torch.ones_like(first)
    rows = [one, first, second, first, one, third, second, third, one]
    factor: Tensor = torch.linalg.cholesky(torch.stack(rows, dim=1).view(-1, 3, 3))
    return factor


def _smoothing(angle: Tensor, size: int) -> Tensor:
    """(N,) directions to (N, size, size // 2 + 1) frequency responses of Gaussians elongated along them."""
    fy = torch.fft.fftfreq(size)[:, None] * (2 * math.pi)
    fx = torch.fft.rfftfreq(size)[None, :] * (2 * math.pi)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = cos * fx + sin * fy, cos * fy - sin * fx
    return torch.exp(-0.5 * ((GRAIN[0] * along) ** 2 + (GRAIN[1] * across) ** 2))
