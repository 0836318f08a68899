"""torchvision's ResNets without pooling and classifier."""

from __future__ import annotations

from typing import Any

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, ResNetOptions
from gcp.backbones.weights import load_torchvision_weights
from gcp.errors import MissingDependencyError


def build(info: BackboneInfo, options: ResNetOptions) -> FeatureMap:
    """The network up to its last stage: 7x7 at 224 px, 14x14 with ``last_stride=1``.

    Raises:
        MissingDependencyError: torchvision is not installed.
        WeightsError: the weights do not exist or cannot be fetched.
    """
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingDependencyError(f"the backbone {info.name} needs torchvision: pip install torchvision") from error
    network = models.get_model(info.name, weights=None)
    if options.weights is not None:
        load_torchvision_weights(network, info.name, options.weights)
    num_features: int = network.fc.in_features
    if options.last_stride == 1:
        _keep_resolution(network.layer4[0])
    return FeatureMap(
        [module for name, module in network.named_children() if name not in ("avgpool", "fc")], num_features
    )


def _keep_resolution(block: Any) -> None:
    for convolution in block.modules():
        if isinstance(convolution, nn.Conv2d):
            convolution.stride = (1, 1)
