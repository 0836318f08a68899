"""torchvision's ResNets, ResNeXts and Wide ResNets without pooling and classifier."""

from __future__ import annotations

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, ResNetOptions
from gcp.backbones.torchvision_network import build_network, without_head
from gcp.backbones.weights import load_pretrained


def build(info: BackboneInfo, options: ResNetOptions) -> FeatureMap:
    """The network up to its last stage: 7x7 at 224 px, 14x14 with ``last_stride=1``.

    Raises:
        MissingDependencyError: torchvision is not installed.
        WeightsError: the weights do not exist, cannot be fetched or are of another network.
    """
    network = build_network(info.name)
    features = without_head(network, ("avgpool", "fc"), network.fc.in_features)
    if options.last_stride == 1:
        _keep_resolution(network.layer4[0])
    if options.weights is not None:
        del network.fc
        load_pretrained(network, info.name, options.weights)
    return features


def _keep_resolution(block: nn.Module) -> None:
    for convolution in block.modules():
        if isinstance(convolution, nn.Conv2d):
            convolution.stride = (1, 1)
