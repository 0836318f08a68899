"""The covariance in the log-Cholesky geometry: its Cholesky factor, the diagonal as logarithms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.errors import DomainError
from gcp.estimate import plain_features
from gcp.features import centred, eye_like, flat_features, sample_list, second_moment
from gcp.methods import MethodInfo
from gcp.methods.cholesky import CholeskyOptions
from gcp.operators import define_operator
from gcp.pooling.base import MatrixPooling
from gcp.scaling import largest_entry, safe_unit


class CholeskyPooling(MatrixPooling):
    """Cho-TMLR of arXiv 2407.10484: (B, C, H, W) to (B, out_features), computed in float64 whatever the features are.

    With L = chol(P + eps tr(P)/C I), or chol(P + eps I) where ``relative`` is false, the matrix is K + K^T, K being L
    below the diagonal and log L_ii on it. eps keeps the gradient finite where P is singular. Features times s give
    s times what is off the diagonal, and 2 log(s) more on it, unless eps is absolute. A covariance that is 0 counts as
    one of mean 1. NaN stays in its sample.

    Raises, when called, ShapeError for a map of one position, and DomainError where rounding has taken an eigenvalue
    to 0 or below, which an eps that is small beside 1e-16 C tr(P) allows.
    """

    def __init__(self, in_channels: int, info: MethodInfo, options: CholeskyOptions) -> None:
        super().__init__(in_channels, info, options)
        self.eps = options.eps
        self.relative = options.relative

    def matrix(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        flat = flat_features(features).double()
        unit = safe_unit(largest_entry(flat.detach()))
        if not self.relative:
            unit = unit.clamp(min=1)  # beside eps, small features may well underflow
        P = second_moment(centred(flat / unit))
        mean = P.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        eye = eye_like(P)
        if self.relative:
            empty = mean == 0
            unit = torch.where(empty, 1, unit)
            K = log_cholesky(P + self.eps * torch.where(empty, 1, mean) * eye)
        else:
            K = log_cholesky(P + self.eps / unit / unit * eye)
        K = torch.where(eye == 1, K + unit.log(), K * unit)
        return K + K.mT

    def estimated(self, features: Tensor, weights: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C, C)."""
        return self.matrix(plain_features(features.double(), weights, self.estimate))


def log_cholesky(matrix: Tensor) -> Tensor:
    """The Cholesky factor of symmetric positive definite matrices, its diagonal as logarithms.

    The gradient is torch's, through triangular solves: finite as long as the matrix is definite.

    Args:
        matrix: (..., n, n), float64 or float32.

    Returns:
        (..., n, n), lower triangular. NaN and infinity give NaN, in their own matrix.

    Raises DomainError for a matrix that is not positive definite; in a compiled program it gives NaN.

    >>> log_cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]])).round(decimals=4)
    tensor([[0.6931, 0.0000],
            [1.0000, 0.0000]])
    """
    L, info = torch.linalg.cholesky_ex(matrix)
    if not torch.compiler.is_compiling():
        torch.ops.gcp.require_definite(info, matrix.detach())
    L = torch.where((info == 0)[..., None, None], L, torch.nan)
    return L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).log())


def _operator(info: Tensor, matrix: Tensor) -> Tensor:
    """Of Cholesky's ``info`` (...), 0 where it succeeded, and the ``matrix`` (..., n, n)."""
    indefinite = (info > 0) & matrix.isfinite().flatten(-2).all(-1)
    if indefinite.any():
        samples = sample_list(indefinite.flatten())
        raise DomainError(
            f"a Cholesky factor needs positive definite matrices, and rounding has taken an eigenvalue of matrix "
            f"{samples[0]} to 0 or below; take a larger eps, in units of the mean eigenvalue (relative=true)",
            samples,
        )
    return indefinite


def _allocate(info: Tensor, matrix: Tensor) -> Tensor:
    return torch.empty_like(info, dtype=torch.bool)


def _vmap(details: Any, in_dims: tuple[int | None, ...], info: Tensor, matrix: Tensor) -> tuple[Tensor, int]:
    batched = [
        part.expand(details.batch_size, *part.shape) if dim is None else part.movedim(dim, 0)
        for part, dim in zip((info, matrix), in_dims, strict=True)
    ]
    return torch.ops.gcp.require_definite(*batched), 0


define_operator("require_definite(Tensor info, Tensor matrix) -> Tensor", _operator, _allocate, _vmap)
