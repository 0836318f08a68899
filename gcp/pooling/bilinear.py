"""Bilinear pooling, and its normalisation: signed square root, then unit length."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.estimate import weighted_columns
from gcp.features import flat_features, second_moment, working
from gcp.methods import MethodInfo
from gcp.methods.bilinear import BilinearOptions
from gcp.pooling.base import MatrixPooling
from gcp.scaling import largest_entry, safe_unit


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

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return self.matrix(weighted_columns(features, weights))

    def vector(self, matrix: Tensor) -> Tensor:
        """Unit length: behind the vectorisation, whose sqrt(2) keeps the norm of the rooted matrix."""
        return unit_length(super().vector(matrix))


def signed_root(values: Tensor, unit: Tensor, eps: float) -> Tensor:
    """m/sqrt(|m| + eps) with m = values/unit: sign(m) sqrt(|m|), but smooth at 0, where its slope is 1/sqrt(eps).

    Args:
        values: any shape.
        unit: broadcast with ``values``, at least 0: what eps is measured in; where it is 0, 1 stands for it.
        eps: above 0.

    >>> signed_root(torch.tensor([-4.0, 9.0]), unit=torch.tensor(1.0), eps=1e-8)
    tensor([-2.,  3.])
    """
    m = values / torch.where(unit == 0, 1, unit)
    # Both sides over sqrt(eps): ONNX's optimiser takes adding a number like 1e-8 for adding 0, and leaves it out.
    rooted: Tensor = (m / eps**0.5) / (m.abs() / eps + 1).sqrt()
    return rooted


def unit_length(vector: Tensor) -> Tensor:
    """y/|y|, (B, n) to (B, n); a sample that is 0 gives 0.

    >>> unit_length(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    square = vector.square().sum(-1, keepdim=True)
    return vector / torch.where(square == 0, 1, square).sqrt()
