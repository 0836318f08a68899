"""AlexNet as covariance pooling uses it."""

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import AlexNetOptions, BackboneInfo


def build(info: BackboneInfo, options: AlexNetOptions) -> FeatureMap:
    """Five convolutions with batch norm, without the last pooling and without dropout: 13x13 at 224 px."""
    return FeatureMap(
        [
            *_block(3, 64, kernel_size=11, stride=4, padding=2),
            nn.MaxPool2d(kernel_size=3, stride=2),
            *_block(64, 192, kernel_size=5, padding=2),
            nn.MaxPool2d(kernel_size=3, stride=2),
            *_block(192, 384, kernel_size=3, padding=1),
            *_block(384, 256, kernel_size=3, padding=1),
            *_block(256, 256, kernel_size=3, padding=1),
        ],
        num_features=256,
    )


def _block(in_channels: int, out_channels: int, **geometry: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, **geometry)  # type: ignore[arg-type]
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
