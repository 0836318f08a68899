"""Covariance pooling with the root by an approximant."""

from __future__ import annotations

from torch import Tensor, nn

from gcp.features import centred, check_channels, flat_features, second_moment, working
from gcp.methods import MethodInfo, RootOptions
from gcp.pooling.covariance import described
from gcp.pooling.triangle import Vectorisation
from gcp.registry import resolve
from gcp.roots.matrix import APPROXIMANTS, MatrixRoot, Root


class ApproximantPooling(nn.Module):
    """The covariance's square root by a matrix polynomial or quotient: (B, C, H, W) to (B, out_features).

    MPA and MTP of arXiv 2201.08663: see `gcp.roots.pade`, `gcp.roots.taylor` for the values and `MatrixRootGradient`
    for the gradient. In the dtype of the features, float32 at least, outside autocast; each sample on its own. Null
    eigenvalues come out above 0, which is part of the method. Raises ShapeError for a map of one position.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: RootOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.name = info.name
        self.root = Root(resolve(APPROXIMANTS[info.name]), options)
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        check_channels(features, self.in_channels)
        P = second_moment(centred(working(flat_features(features))))
        vector: Tensor = self.vectorise(MatrixRoot.apply(P, self.root))
        return vector.to(features.dtype)

    def extra_repr(self) -> str:
        """Method and options."""
        return described(self.name, self.root.options)
