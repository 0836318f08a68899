"""VGG without the last pooling."""

from __future__ import annotations

from torch import nn

from gcp.backbones.feature_map import FeatureMap
from gcp.backbones.registry import BackboneInfo, TorchvisionOptions
from gcp.backbones.weights import load_pretrained

# Table 1 of arXiv 1409.1556: convolutions in each of the five stages, by the number of layers with weights.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def build(info: BackboneInfo, options: TorchvisionOptions) -> FeatureMap:
    """Five stages of 3x3 convolutions with poolings between them: 14x14 at 224 px, 28x28 at 448 px.

    The layers are torchvision's ``features`` up to the pooling after the last stage, which is left out as in the
    reference: covariance pooling needs the positions.

    Raises WeightsError if the weights do not exist, cannot be fetched or are of another network.
    """
    depth, _, batch_norm = info.name.removeprefix("vgg").partition("_")
    layers: list[nn.Module] = []
    channels = 3
    for width, convolutions in zip(WIDTHS, CONVOLUTIONS[int(depth)], strict=True):
        for _ in range(convolutions):
            layers += _block(channels, width, bool(batch_norm))
            channels = width
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    features = FeatureMap(layers[:-1], channels)
    if options.weights is not None:
        load_pretrained(features, info.name, options.weights, prefix="features.")
    return features


def _block(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    norm: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    return [convolution, *norm, nn.ReLU(inplace=True)]
