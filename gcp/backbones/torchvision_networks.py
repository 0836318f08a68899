"""torchvision's networks, cut to their feature map: ResNets and what is built like them, DenseNets, Inception v3.

Each builder raises MissingDependencyError without torchvision, and WeightsError for weights that do not exist, cannot
be fetched or are of another network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.imagenet import MEAN, STD
from gcp.backbones.registry import BackboneInfo, ResNetOptions, TorchvisionOptions
from gcp.backbones.weights import load_pretrained
from gcp.errors import MissingDependencyError

EXPECTED_MEAN, EXPECTED_STD = 0.5, 0.5  # what the published weights of Inception were trained with


def resnet(info: BackboneInfo, options: ResNetOptions) -> FeatureMap:
    """ResNets, ResNeXts and Wide ResNets up to their last stage: 7x7 at 224 px, 14x14 with ``last_stride=1``."""
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


def densenet(info: BackboneInfo, options: TorchvisionOptions) -> FeatureMap:
    """The network up to its last batch norm, and the ReLU torchvision applies in ``forward``: 7x7 at 224 px."""
    network = build_network(info.name)
    if options.weights is not None:
        load_pretrained(network.features, info.name, options.weights, prefix="features.")
    layers: OrderedDict[str, nn.Module] = OrderedDict(network.features.named_children())
    layers["relu5"] = nn.ReLU(inplace=True)
    return FeatureMap(layers, network.classifier.in_features)


def inception(info: BackboneInfo, options: TorchvisionOptions) -> FeatureMap:
    """The network up to its last block: 5x5 at 224 px, 8x8 at 299 px.

    Random weights are torch's usual ones: the truncated normal of the paper takes torchvision seconds.
    """
    network = build_network(info.name, aux_logits=False, init_weights=False)
    features = without_head(network, ("avgpool", "dropout", "fc"), network.fc.in_features)
    if options.weights is not None:
        del network.fc
        load_pretrained(network, info.name, options.weights)
        _fold_normalisation(network.Conv2d_1a_3x3)
    return features


@torch.no_grad()
def _fold_normalisation(block: Any) -> None:
    """Let the first block take images in ImageNet's normalisation.

    torchvision rescales them, x' = scale x + shift per channel, before the first layer when its weights are loaded.
    That layer has neither padding nor bias: the scale goes into its weight, the shift into the mean of its batch norm.
    """
    convolution: nn.Conv2d = block.conv
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)  # (3, 1, 1)
    shift = (mean - EXPECTED_MEAN) / EXPECTED_STD
    block.bn.running_mean -= (convolution.weight * shift).sum((1, 2, 3))
    convolution.weight *= std / EXPECTED_STD


def build_network(name: str, **arguments: Any) -> Any:
    """torchvision's network of that name with random weights. Raises MissingDependencyError without torchvision."""
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingDependencyError(f"the backbone {name} needs torchvision: pip install torchvision") from error
    return models.get_model(name, weights=None, **arguments)


def without_head(network: nn.Module, head: Collection[str], num_features: int) -> FeatureMap:
    """The children of ``network`` in sequence, but for those named in ``head``."""
    body = {name: child for name, child in network.named_children() if name not in head}
    return FeatureMap(list(body.values()), num_features, original_names=tuple(body))
