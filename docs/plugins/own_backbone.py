"""A backbone of one's own: patches of the image, mixed by two convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp import register_backbone
from gcp.options import Options, option

if TYPE_CHECKING:
    from torch import nn

    from gcp.backbones.registry import BackboneInfo


@dataclass(frozen=True)
class PatchesOptions(Options):
    """Options of `patches`."""

    patch: int = option(4, "height and width of a patch in pixels", minimum=1)
    width: int = option(64, "channels of the feature map", minimum=1)


def build(info: BackboneInfo, options: PatchesOptions) -> nn.Module:
    """A module that maps (B, 3, H, W) to (B, num_features, h, w), and says ``num_features``."""
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(3, options.width, options.patch, stride=options.patch),
        nn.BatchNorm2d(options.width),
        nn.ReLU(),
        nn.Conv2d(options.width, options.width, 3, padding=1),
        nn.BatchNorm2d(options.width),
        nn.ReLU(),
    )
    network.num_features = options.width
    return network


register_backbone(
    "patches", build, options=PatchesOptions, summary="patches, mixed by two convolutions", source="docs/plugins.md"
)
