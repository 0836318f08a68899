"""Channel reduction before pooling."""

from torch import Tensor, nn

from gcp.features import check_channels, flat_features


def channel_reduction(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution without bias (Kaiming, fan out), batch norm, ReLU: (B, C, H, W) to (B, C', H, W)."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class ReducedPooling(nn.Module):
    """Channel reduction, then pooling: (B, C, H, W) or (B, C, N) to (B, out_features)."""

    def __init__(self, in_channels: int, reduction: nn.Module, pooling: nn.Module, out_features: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.reduction = reduction
        self.pooling = pooling
        self.out_features = out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C, N) to (B, out_features)."""
        check_channels(features, self.in_channels)
        if features.dim() != 4:
            features = flat_features(features, positions=1).unsqueeze(-1)  # a map one position wide
        pooled: Tensor = self.pooling(self.reduction(features))
        return pooled
