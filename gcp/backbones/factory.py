"""A backbone from its name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gcp.backbones.registry import BACKBONES
from gcp.errors import ShapeError
from gcp.options import make_options
from gcp.registry import resolve


def create_backbone(name: str, **options: Any) -> nn.Module:
    """A backbone that maps images (B, 3, H, W) to a feature map (B, num_features, H', W').

    Args:
        name: one of `list_backbones()`.
        options: the backbone's own, see `gcp.backbones.registry`.

    Returns:
        a module with the attribute ``num_features``.

    Raises:
        UnknownNameError: no such backbone; the message has the nearest name.
        OptionError: an option the backbone does not have, or out of its range.
        WeightsError: pretrained weights that do not exist or cannot be fetched.
    """
    info = BACKBONES.get(name)
    backbone: nn.Module = resolve(info.build)(info, make_options(info.options, options, f"backbone '{name}'"))
    return backbone


@torch.no_grad()
def feature_map_size(backbone: nn.Module, image_size: int) -> tuple[int, int]:
    """Height and width of the feature map for square images of ``image_size`` pixels.

    Raises ShapeError if the images are too small for the backbone, or leave fewer than two positions.
    """
    training = backbone.training
    parameter = next(backbone.parameters())
    image = parameter.new_zeros(1, 3, image_size, image_size)
    try:
        height, width = backbone.eval()(image).shape[2:]
    except RuntimeError as error:
        height, width, reason = 0, 0, f" ({error})"
    else:
        reason = ""
    finally:
        backbone.train(training)
    if height * width < 2:
        raise ShapeError(
            f"images of {image_size}x{image_size} are too small: the backbone leaves a feature map of "
            f"{height}x{width}{reason}, and pooling needs two positions or more; use a larger image_size"
        )
    return height, width
