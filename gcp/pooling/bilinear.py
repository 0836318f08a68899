"""Bilinear pooling."""

from __future__ import annotations

from torch import Tensor

from gcp.features import flat_features, largest_entry, safe_unit, second_moment, working
from gcp.methods import BilinearOptions, MethodInfo
from gcp.pooling.matrix import MatrixPooling
from gcp.pooling.signed_root import signed_root, unit_length


class BilinearPooling(MatrixPooling):
    """B-CNN: second moment X X^T/N without centring, signed square root, unit length (arXiv 1504.07889).

    (B, C, H, W) to (B, out_features); a sample that is 0 gives 0. The scale of a sample does not matter.
    ``vectorisation=full`` is the published vector; "isometric" has the same inner products at half the length.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: BilinearOptions) -> None:
        super().__init__(in_channels, info, options)
        self.eps = options.eps

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        X = working(flat_features(features, positions=1))
        M = second_moment(X / safe_unit(largest_entry(X.detach())))
        energy = M.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        return signed_root(M, energy, self.eps)

    def vector(self, matrix: Tensor) -> Tensor:
        """Unit length: behind the vectorisation, whose sqrt(2) keeps the norm of the rooted matrix."""
        return unit_length(super().vector(matrix))
