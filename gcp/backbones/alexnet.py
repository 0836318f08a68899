"""AlexNet as covariance pooling uses it."""

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, UnpublishedOptions


def build(info: BackboneInfo, options: UnpublishedOptions) -> FeatureMap:
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


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
