"""What pooling layers share whose result is a symmetric matrix of the channels."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from gcp.errors import OptionError
from gcp.estimate import plain_features
from gcp.features import centred, check_channels, flat_features, working
from gcp.methods import CovarianceOptions, EstimateOptions, MethodInfo, SquareRootOptions
from gcp.options import Options
from gcp.pooling.classifier_map import classifier_map
from gcp.pooling.triangle import Vectorisation
from gcp.scaling import in_safe_units
from gcp.spectral.range import require_finite


class MatrixPooling(nn.Module, ABC):
    """A matrix of the features, as a vector: (B, C, H, W) to (B, out_features), in the dtype of the features.

    The other forms of `gcp.features.flat_features` are taken, too.

    Args:
        in_channels: C.
        info: the method's entry in the registry.
        options: the method's options.

    Attributes:
        gives_root: whether the matrix is the square root of the features' covariance.

    Raises OptionError for a ``classifier_map`` of what is no root.
    """

    gives_root: ClassVar[bool] = False

    def __init__(self, in_channels: int, info: MethodInfo, options: CovarianceOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.description = described(info.name, options)
        self.estimate = options if isinstance(options, EstimateOptions) else EstimateOptions()
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features
        self.classifier_map = options.classifier_map if isinstance(options, SquareRootOptions) else "power"
        if self.classifier_map != "power" and not self.gives_root:
            raise OptionError(
                f"classifier_map={self.classifier_map} maps the root of a covariance, which '{info.name}' does not "
                "give; leave it at power"
            )

    @abstractmethod
    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to symmetric (B, C, C)."""

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """`matrix` of the covariance that the options and the weights describe, (B, C, C): a plain one of others."""
        return self.matrix(plain_features(features, weights, self.estimate))

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, out_features).

        Args:
            features: the feature maps.
            weights: a mask of the positions that count, or how much each counts, see `gcp.position_weights.shares`;
                None: all count the same.
        """
        check_channels(features, self.in_channels)
        plain = weights is None and self.estimate.plain
        matrix = self.matrix(features) if plain else self.estimated(features, weights)
        vector = self.vector(matrix).to(features.dtype)
        if matrix.dtype != features.dtype or self.enlarges:
            require_finite(vector, matrix, "the vector")
        return vector

    def vector(self, matrix: Tensor) -> Tensor:
        """(B, C, C) to (B, out_features)."""
        vector: Tensor = self.vectorise(classifier_map(matrix, self.classifier_map), symmetric=True)
        return vector

    @property
    def enlarges(self) -> bool:
        """Whether the vector has larger entries than the matrix, which its type may then not hold."""
        return self.classifier_map != "power" or self.vectorise.form == "isometric"

    def with_plain_covariance(self, features: Tensor) -> Tensor:
        """Features (B, C, M) whose plain covariance is the one that is pooled, for measurements of it."""
        return features if self.estimate.plain else plain_features(features.double(), None, self.estimate)

    def extra_repr(self) -> str:
        """Method and options."""
        return self.description


class RootPooling(MatrixPooling):
    """The covariance's square root by matrix products, in the dtype of the features, float32 at least."""

    gives_root = True

    @abstractmethod
    def root(self, Xc: Tensor) -> Tensor:
        """(Xc Xc^T)^(1/2), (B, C, N) to (B, C, C)."""

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return in_safe_units(lambda flat: self.root(centred(flat)), working(flat_features(features)))


def described(name: str, options: Options) -> str:
    """ "name, option=value, ..." for ``extra_repr``."""
    values = dataclasses.asdict(options)
    return ", ".join([name, *(f"{option}={value}" for option, value in values.items())])
