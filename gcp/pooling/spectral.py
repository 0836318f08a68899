"""Global covariance pooling."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gcp.covariance import covariance_root, spectral_method
from gcp.methods import KernelOptions, MethodInfo, SpectralOptions, SquareRootOptions
from gcp.options import option_names
from gcp.pooling.base import MatrixPooling
from gcp.spectral.maps import SpectralMap
from gcp.spectral.method import SpectralMethod


class SpectralPooling(MatrixPooling):
    """A function of the covariance by a spectral method: (B, C, H, W) to (B, out_features).

    Attributes:
        method: the spectral method, whose options say what covariance is meant.
    """

    method: SpectralMethod

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return self.estimated(features, None)

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return covariance_root(features, self.method, weights)


class CovariancePooling(SpectralPooling):
    """The square root of the covariance as a vector: (B, C, H, W) to (B, out_features) (arXiv 1703.08050).

    Raises, when called, ShapeError for a map of one position or of another number of channels, and NonFiniteError for
    NaN or infinity.
    """

    gives_root = True

    def __init__(self, in_channels: int, info: MethodInfo, options: SpectralOptions) -> None:
        super().__init__(in_channels, info, options)
        options.check_channels(in_channels)
        layer_options = option_names(SquareRootOptions)
        values = {name: value for name, value in dataclasses.asdict(options).items() if name not in layer_options}
        self.method = spectral_method(info, **values)


def function_method(options: KernelOptions, function: SpectralMap) -> SpectralMethod:
    """The spectral method ``options.kernel`` with a function of the pooling's own."""
    of_layers = option_names(SquareRootOptions)
    shared = {name: getattr(options, name) for name in option_names(SpectralOptions) if name not in of_layers}
    return spectral_method(options.kernel, function, **shared)
