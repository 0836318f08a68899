"""Global average pooling."""

from torch import Tensor, nn

from gcp.features import check_channels, flat_features
from gcp.methods import MethodInfo
from gcp.methods.average import AverageOptions


class AveragePooling(nn.Module):
    """Mean over positions: (B, C, H, W) to (B, C); the first-order baseline (arXiv 1312.4400)."""

    def __init__(self, in_channels: int, info: MethodInfo, options: AverageOptions) -> None:
        super().__init__()
        self.in_channels = self.out_features = in_channels

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        check_channels(features, self.in_channels)
        return flat_features(features, positions=1).mean(-1)
