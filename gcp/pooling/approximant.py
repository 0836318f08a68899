"""Covariance pooling with the root by an approximant."""

from __future__ import annotations

from torch import Tensor

from gcp.features import centred, flat_features, second_moment, working
from gcp.methods import MethodInfo, RootOptions
from gcp.pooling.base import MatrixPooling
from gcp.registry import resolve
from gcp.roots.matrix_root import MatrixRoot, Root
from gcp.scaling import in_safe_units


class ApproximantPooling(MatrixPooling):
    """The covariance's square root by a matrix polynomial or quotient: (B, C, H, W) to (B, out_features).

    MPA and MTP of arXiv 2201.08663: see `gcp.methods.mpa`, `gcp.methods.mtp` for the values and `MatrixRootGradient`
    for the gradient. In the dtype of the features, float32 at least, outside autocast; each sample on its own. Null
    eigenvalues come out above 0, which is part of the method. Raises ShapeError for a map of one position.
    """

    gives_root = True

    def __init__(self, in_channels: int, info: MethodInfo, options: RootOptions) -> None:
        super().__init__(in_channels, info, options)
        self.root = Root(resolve(info.approximant), options)

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return in_safe_units(self._root, working(flat_features(features)))

    def _root(self, flat: Tensor) -> Tensor:
        root: Tensor = MatrixRoot.apply(second_moment(centred(flat)), self.root)
        return root
