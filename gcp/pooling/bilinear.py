"""Bilinear pooling."""

from __future__ import annotations

from torch import Tensor, nn

from gcp.features import check_channels, flat_features, second_moment, working
from gcp.methods import BilinearOptions, MethodInfo
from gcp.pooling.covariance import described
from gcp.pooling.signed_root import signed_root, unit_length
from gcp.pooling.triangle import Vectorisation


class BilinearPooling(nn.Module):
    """B-CNN: second moment X X^T/N without centring, signed square root, unit length (arXiv 1504.07889).

    (B, C, H, W) to (B, out_features); a sample that is 0 gives 0. The scale of a sample does not matter.
    ``vectorisation=full`` is the published vector; "isometric" has the same inner products at half the length.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: BilinearOptions) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.options = options
        self.vectorise = Vectorisation(in_channels, options.vectorisation)
        self.out_features = self.vectorise.out_features

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_features)."""
        check_channels(features, self.in_channels)
        X = working(flat_features(features, positions=1))
        M = second_moment(X)
        energy = M.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        # The vectorisation's sqrt(2) belongs behind the square root: it is the rooted matrix whose norm it keeps.
        vector = unit_length(self.vectorise(signed_root(M, energy, self.options.eps)))
        return vector.to(features.dtype)

    def extra_repr(self) -> str:
        """Method and options."""
        return described("bilinear", self.options)
