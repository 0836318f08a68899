"""A sequence of layers that gives a feature map."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from gcp.backbones.freezing import Freezable


class FeatureMap(Freezable, nn.Sequential):
    """Layers in sequence, (B, 3, H, W) to (B, num_features, H', W').

    Attributes:
        num_features: channels of the feature map.
        original_names: the names the layers had in the network they were taken from, one per layer; empty if they
            were not, or kept them. Checkpoints of that network are read by them.
    """

    def __init__(
        self,
        layers: list[nn.Module] | OrderedDict[str, nn.Module],
        num_features: int,
        original_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(*layers) if isinstance(layers, list) else super().__init__(layers)
        self.num_features = num_features
        self.original_names = original_names
