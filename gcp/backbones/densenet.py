"""torchvision's DenseNets with their final ReLU."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, TorchvisionOptions
from gcp.backbones.torchvision_network import build_network
from gcp.backbones.weights import load_pretrained


def build(info: BackboneInfo, options: TorchvisionOptions) -> FeatureMap:
    """The network up to its last batch norm, and the ReLU torchvision applies in ``forward``: 7x7 at 224 px.

    Raises:
        MissingDependencyError: torchvision is not installed.
        WeightsError: the weights do not exist, cannot be fetched or are of another network.
    """
    network = build_network(info.name)
    if options.weights is not None:
        load_pretrained(network.features, info.name, options.weights, prefix="features.")
    layers: OrderedDict[str, nn.Module] = OrderedDict(network.features.named_children())
    layers["relu5"] = nn.ReLU(inplace=True)
    return FeatureMap(layers, network.classifier.in_features)
