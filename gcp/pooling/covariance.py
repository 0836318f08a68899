"""Global covariance pooling."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from gcp.errors import ShapeError
from gcp.functional import covariance_root, spectral_method
from gcp.methods import MethodInfo, SpectralOptions
from gcp.pooling.triangle import triangle_index, vech


class CovariancePooling(nn.Module):
    """vech of the square root of the covariance: (B, C, H, W) to (B, C (C + 1)/2) (arXiv 1703.08050).

    Raises, when called, ShapeError for a map of one position or of another number of channels, and NonFiniteError for
    NaN or infinity.
    """

    index: Tensor

    def __init__(self, in_channels: int, info: MethodInfo, options: SpectralOptions) -> None:
        super().__init__()
        options.check_channels(in_channels)
        self.name = info.name
        self.in_channels = in_channels
        self.method = spectral_method(info, **dataclasses.asdict(options))
        self.out_features = in_channels * (in_channels + 1) // 2
        self.register_buffer("index", triangle_index(in_channels), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C (C + 1)/2)."""
        if features.dim() in (3, 4) and features.shape[1] != self.in_channels:
            raise ShapeError(f"this layer pools {self.in_channels} channels, got shape {tuple(features.shape)}")
        return vech(covariance_root(features, self.method), self.index)

    def extra_repr(self) -> str:
        """Method and options."""
        options = dataclasses.asdict(self.method.options)
        return ", ".join([self.name, *(f"{name}={value}" for name, value in options.items())])
