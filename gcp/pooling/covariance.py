"""Global covariance pooling."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from gcp.features import check_channels
from gcp.functional import covariance_root, spectral_method
from gcp.methods import KernelOptions, MethodInfo, SpectralOptions
from gcp.pooling.triangle import Vectorisation
from gcp.spectral.function import SpectralMethod
from gcp.spectral.maps import SpectralMap


class CovariancePooling(nn.Module):
    """The square root of the covariance as a vector: (B, C, H, W) to (B, out_features) (arXiv 1703.08050).

    Raises, when called, ShapeError for a map of one position or of another number of channels, and NonFiniteError for
    NaN or infinity.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: SpectralOptions) -> None:
        super().__init__()
        options.check_channels(in_channels)
        self.name = info.name
        self.in_channels = in_channels
        self.method = spectral_method(info, **matrix_options(options))
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        check_channels(features, self.in_channels)
        vector: Tensor = self.vectorise(covariance_root(features, self.method))
        return vector

    def extra_repr(self) -> str:
        """Method and options."""
        return described(self.name, self.method.options)


def matrix_options(options: SpectralOptions) -> dict[str, Any]:
    """The options that decide the matrix, all but its vectorisation."""
    values = dataclasses.asdict(options)
    del values["vectorisation"]
    return values


def function_method(options: KernelOptions, function: SpectralMap) -> SpectralMethod:
    """The spectral method ``options.kernel`` with a function of the pooling's own."""
    shared = {name: getattr(options, name) for name in ("precision", "path", "nonfinite")}
    return spectral_method(options.kernel, function, **shared)


def described(name: str, options: object) -> str:
    """ "name, option=value, ..." for ``extra_repr``; ``options`` is a dataclass."""
    values = dataclasses.asdict(options)  # type: ignore[call-overload]
    return ", ".join([name, *(f"{option}={value}" for option, value in values.items())])
