"""The matrix logarithm of the covariance."""

from __future__ import annotations

from torch import Tensor, nn

from gcp.features import check_channels
from gcp.functional import covariance_root
from gcp.methods import LogmOptions, MethodInfo
from gcp.pooling.covariance import described, function_method
from gcp.pooling.triangle import Vectorisation
from gcp.spectral.maps import Log


class LogmPooling(nn.Module):
    """log(P + eps tr(P)/C I), the log-Euclidean view: (B, C, H, W) to (B, out_features) (arXiv 1509.07838).

    Multiplying the features by s adds 2 log(s) to the diagonal. Raises as `CovariancePooling`.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: LogmOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.options = options
        self.method = function_method(options, Log(eps=options.eps))
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        check_channels(features, self.in_channels)
        vector: Tensor = self.vectorise(covariance_root(features, self.method))
        return vector

    def extra_repr(self) -> str:
        """Method and options."""
        return described("logm", self.options)
