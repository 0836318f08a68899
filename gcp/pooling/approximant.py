"""Covariance pooling with the root by an approximant."""

from __future__ import annotations

from torch import Tensor

from gcp.features import second_moment
from gcp.methods import MethodInfo, RootOptions
from gcp.pooling.base import RootPooling
from gcp.registry import resolve
from gcp.roots.matrix_root import MatrixRoot, Root


class ApproximantPooling(RootPooling):
    """The covariance's square root by a matrix polynomial or quotient: (B, C, H, W) to (B, out_features).

    MPA and MTP of arXiv 2201.08663: see `gcp.methods.mpa`, `gcp.methods.mtp` for the values and `MatrixRootGradient`
    for the gradient. In the dtype of the features, float32 at least, outside autocast; each sample on its own. Null
    eigenvalues come out above 0, which is part of the method. Raises ShapeError for a map of one position.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: RootOptions) -> None:
        super().__init__(in_channels, info, options)
        self.how = Root(resolve(info.approximant), options)

    def root(self, Xc: Tensor) -> Tensor:
        """(B, C, N) to (B, C, C)."""
        root: Tensor = MatrixRoot.apply(second_moment(Xc), self.how)
        return root
