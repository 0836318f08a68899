"""Channel reduction before pooling."""

from torch import Tensor, nn


def channel_reduction(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution without bias (Kaiming, fan out), batch norm, ReLU: (B, C, H, W) to (B, C', H, W)."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class ReducedPooling(nn.Module):
    """Channel reduction, then pooling."""

    def __init__(self, reduction: nn.Module, pooling: nn.Module, out_features: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.pooling = pooling
        self.out_features = out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        pooled: Tensor = self.pooling(self.reduction(features))
        return pooled
