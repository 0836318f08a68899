"""torchvision's Inception v3 without auxiliary head, pooling and classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, TorchvisionOptions
from gcp.backbones.torchvision_network import build_network, without_head
from gcp.backbones.weights import load_pretrained

# What images are normalised by here (ImageNet), and what the published weights expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXPECTED_MEAN, EXPECTED_STD = 0.5, 0.5


def build(info: BackboneInfo, options: TorchvisionOptions) -> FeatureMap:
    """The network up to its last block: 5x5 at 224 px, 8x8 at 299 px.

    Random weights are torch's usual ones: the truncated normal of the paper takes torchvision seconds.

    Raises:
        MissingDependencyError: torchvision is not installed.
        WeightsError: the weights do not exist, cannot be fetched or are of another network.
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
