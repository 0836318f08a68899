"""A backbone from its name."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from gcp.backbones.feature_map import Freezable
from gcp.backbones.registry import BACKBONES, BackboneOptions, UnpublishedOptions
from gcp.backbones.weights import features_of_run, load_matching
from gcp.errors import OptionError, PluginError, ShapeError, WeightsError
from gcp.options import make_options
from gcp.plugins import built_by, size_of
from gcp.replacing import replace_batchnorm
from gcp.whitening import Whitening

# Of the mean variance. The first convolution's channels are nearly dependent (9 weights on grey images make at most 9
# independent ones): with 1e-5 the least of them, another in each batch, decide what comes out in eval.
WHITENING_EPS = 1e-3


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
        WeightsError: pretrained weights that do not exist, cannot be fetched or are of another network.
        MissingDependencyError: the package it comes from is not installed.

    >>> create_backbone("tiny", width=8)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 8, 4, 4])
    """
    info = BACKBONES.get(name)
    built = make_options(info.options, options, f"backbone '{name}'")
    weights = getattr(built, "weights", None)
    state = features_of_run(weights) if isinstance(weights, str) else None
    if state is not None:
        built = dataclasses.replace(built, weights=None)  # type: ignore[call-arg]  # an option class that has weights
    elif weights is not None and isinstance(built, UnpublishedOptions):
        raise WeightsError(f"{name} has no weights '{weights}'; give a run directory or checkpoint of this project")
    backbone: nn.Module = built_by(info.build, f"backbone '{name}'", "num_features", info, built)
    whitened = isinstance(built, BackboneOptions) and built.whitening is not None
    if whitened and state is not None and any(key.endswith(".running_covariance") for key in state):
        _whiten(backbone, name)  # as the run did whose weights come in
    if state is not None:
        load_matching(backbone, state, str(weights))
    if whitened and not any(isinstance(module, Whitening) for module in backbone.modules()):
        _whiten(backbone, name)
    if isinstance(built, BackboneOptions) and built.frozen:
        if not isinstance(backbone, Freezable):
            raise OptionError(f"the backbone {name} cannot be frozen: its builder gives no Freezable; use frozen=0")
        backbone.freeze(built.frozen)
    return backbone


def _whiten(backbone: nn.Module, name: str) -> None:
    """Put a `Whitening` in the place of the first batch normalisation."""
    try:
        replace_batchnorm(backbone, eps=WHITENING_EPS, relative=True)
    except OptionError as error:
        raise OptionError(f"the backbone {name} cannot be whitened: {error}; leave whitening out") from None


def check_map(features: object, channels: int) -> None:
    """Raise PluginError unless ``features``, a backbone's output, is a map (B, channels, H, W)."""
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if not isinstance(features, Tensor) or features.dim() != 4 or features.shape[1] != channels:
        raise PluginError(
            f"a backbone must map images to (B, num_features, H, W) with num_features={channels}, it gave {shape}"
        )


@torch.no_grad()
def feature_map_size(backbone: nn.Module, image_size: int) -> tuple[int, int]:
    """Height and width of the feature map for square images of ``image_size`` pixels.

    Raises ShapeError if the images are too small for the backbone, or leave fewer than two positions.

    >>> feature_map_size(create_backbone("tiny"), 32)
    (4, 4)
    """
    training = backbone.training
    parameter = next(backbone.parameters(), torch.empty(0))
    image = parameter.new_zeros(1, 3, image_size, image_size)
    try:
        features = backbone.eval()(image)
        check_map(features, size_of(backbone, "num_features"))
        height, width = features.shape[2:]
    except (ShapeError, PluginError):
        raise  # the backbone says more
    except RuntimeError as error:
        if "alloc" in str(error) or "out of memory" in str(error):
            raise  # too large, not too small
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
