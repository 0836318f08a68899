"""A sequence of layers that gives a feature map."""

from collections import OrderedDict

from torch import nn


class FeatureMap(nn.Sequential):
    """Layers in sequence, (B, 3, H, W) to (B, num_features, H', W').

    Attributes:
        num_features: channels of the feature map.
    """

    def __init__(self, layers: "list[nn.Module] | OrderedDict[str, nn.Module]", num_features: int) -> None:
        super().__init__(*layers) if isinstance(layers, list) else super().__init__(layers)
        self.num_features = num_features
