"""The matrix logarithm of the covariance."""

from __future__ import annotations

from gcp.methods import MethodInfo
from gcp.methods.logm import LogmOptions
from gcp.pooling.spectral import SpectralPooling, function_method
from gcp.spectral.maps import Log


class LogmPooling(SpectralPooling):
    """log(P + eps tr(P)/C I), the log-Euclidean view: (B, C, H, W) to (B, out_features) (arXiv 1509.07838).

    Multiplying the features by s adds 2 log(s) to the diagonal. Raises as `CovariancePooling`.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: LogmOptions) -> None:
        super().__init__(in_channels, info, options)
        self.method = function_method(options, Log(eps=options.eps))
