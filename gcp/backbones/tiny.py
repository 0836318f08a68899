"""A backbone small enough for tests and for digits."""

import itertools

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, TinyOptions


def build(info: BackboneInfo, options: TinyOptions) -> FeatureMap:
    """Three 3x3 convolutions of stride 2 with batch norm and ReLU: 8x8 at 64 px."""
    widths = [3, options.width // 4, options.width // 2, options.width]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return FeatureMap(layers, options.width)
