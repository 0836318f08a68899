"""Transforms as callables on uint8 tensors, standing on torchvision's v2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from datamodules.transforms.names import PROTOCOLS, TRANSFORMS, TransformInfo
from gcp.backbones.imagenet import MEAN, STD
from gcp.errors import UnknownNameError
from gcp.registry import nearest

SCALES = (224 / 256, 1.0, 288 / 256)  # of the resized image in the protocol multi_scale

Transform = Callable[[Tensor], Tensor]
Normal = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of each channel, of values from 0 to 1


def create_transform(
    name: str, part: str, image_size: int | None = None, protocol: str = "center", normal: Normal = (MEAN, STD)
) -> Transform:
    """From uint8 (3, H, W) to normalised float32 (3, h, w), or (K, 3, h, w) with several views.

    Args:
        name: one of `TRANSFORMS`.
        part: "train" augments; "val" and "test" look at the centre.
        image_size: h and w; None: the transform's own.
        protocol: the views of the test part: "center"; "flip", the centre and its mirror image (K = 2); "ten_crop", the
            centre, the four corners and their mirror images (K = 10); "multi_scale", the centre and its mirror image at
            three scales of the image (K = 6). The logits of the views are to be averaged.
        normal: what the images are normalised by.

    Raises:
        UnknownNameError: no such transform or protocol.
    """
    info = TRANSFORMS.get(name)
    if protocol not in PROTOCOLS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}'{nearest(protocol, PROTOCOLS)}; available: {', '.join(PROTOCOLS)}"
        )
    size = image_size or info.image_size
    if part == "train":
        mirror = [v2.RandomHorizontalFlip()] if info.flip else []
        return _one_after_the_other(*_augmentation(info, size), *mirror, *_normalisation(normal))
    return _views(info, size, protocol if part == "test" else "center", normal)


def _one_after_the_other(*steps: torch.nn.Module) -> Transform:
    transform: Transform = v2.Compose(list(steps))
    return transform


def _augmentation(info: TransformInfo, size: int) -> list[torch.nn.Module]:
    if info.train == "random_resized":
        return [v2.RandomResizedCrop(size, antialias=True)]
    if info.train == "padded":
        return [*_resize(info, size), v2.RandomCrop(size, padding=4)]
    return [*_resize(info, size), v2.CenterCrop(size)]


def _views(info: TransformInfo, size: int, protocol: str, normal: Normal) -> Transform:
    if protocol == "ten_crop":
        return _one_after_the_other(*_resize(info, size), v2.TenCrop(size), _Stack(), *_normalisation(normal))
    if protocol == "multi_scale":
        return _MultiScale(info, size, normal)
    centre: list[torch.nn.Module] = [*_resize(info, size), v2.CenterCrop(size)]
    return _one_after_the_other(*centre, *([_Mirrored()] if protocol == "flip" else []), *_normalisation(normal))


def _resize(info: TransformInfo, size: int, scale: float = 1.0) -> list[torch.nn.Module]:
    resize = info.resized(size)
    if resize is None and scale == 1:
        return []
    sides = [size] if resize is None else [resize] if isinstance(resize, int) else list(resize)
    # Never smaller than the crop, which would be padded with black.
    return [v2.Resize([max(round(side * scale), size) for side in sides], antialias=True)]


def _normalisation(normal: Normal) -> list[torch.nn.Module]:
    mean, std = normal
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]


class _Stack(torch.nn.Module):
    """Several crops as one tensor."""

    def forward(self, crops: tuple[Tensor, ...]) -> Tensor:
        return torch.stack(crops)


class _Mirrored(torch.nn.Module):
    """(3, h, w) to (2, 3, h, w): the image and its mirror image."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([image, image.flip(-1)])


class _MultiScale(torch.nn.Module):
    """The centre and its mirror image of the image at several scales."""

    def __init__(self, info: TransformInfo, size: int, normal: Normal) -> None:
        super().__init__()
        self.scaled = [
            v2.Compose([*_resize(info, size, scale), v2.CenterCrop(size), _Mirrored(), *_normalisation(normal)])
            for scale in SCALES
        ]

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([transform(image) for transform in self.scaled])
