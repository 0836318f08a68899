"""Global average pooling."""

from torch import Tensor, nn

from gcp.features import at_least_float32, check_channels, flat_features
from gcp.methods import MethodInfo
from gcp.methods.average import AverageOptions
from gcp.position_weights import shares


class AveragePooling(nn.Module):
    """Mean over positions: (B, C, H, W) to (B, C); the first-order baseline (arXiv 1312.4400)."""

    def __init__(self, in_channels: int, info: MethodInfo, options: AverageOptions) -> None:
        super().__init__()
        self.in_channels = self.out_features = in_channels

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C); ``weights`` as in `gcp.pooling.base.MatrixPooling`."""
        check_channels(features, self.in_channels)
        flat = flat_features(features, positions=1)
        if weights is None:
            return flat.mean(-1)
        positions = shares(weights, features, at_least_float32(flat.dtype))
        return (positions.of(flat) * positions.share).sum(-1).to(flat.dtype)
