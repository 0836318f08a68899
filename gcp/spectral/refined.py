"""Eigenpairs in float64 from decompositions in float32 and products in float64, for where float64 is slow."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.dtypes import COMPLEX
from gcp.scaling import largest_entry

# Eigenvalues below these shares of the largest are decomposed again on their own, in units of their own: single
# precision resolves what is no smaller than 1e-5 of the largest or so, and three such stages reach float64's rounding.
STAGES = (1e-3, 1e-6)
CORRECTIONS = 2  # of first order; each squares what is left
LARGEST_ROTATION = 0.1  # of all corrections of a vector together; pairs that need more are too close for float32


def refined_eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh` of symmetric or Hermitian matrices (..., n, n) in float64, decomposing in float32.

    1. X from float32, made orthonormal in float64; of S = X^H A X, which is almost diagonal, the block of small
       eigenvalues is decomposed in float32 again, twice, and X rotated by the result.
    2. Corrections of first order, X (I + E) with E_ij = S_ij/(S_jj - S_ii) (Ogita and Aishima, 2018).

    Of eigenvalues closer than float32 tells apart the vectors are any basis of their space that it gives; on that no
    function of the matrix depends beyond float32's rounding, because step 1 leaves only large ones so close.

    >>> refined_eigh(torch.diag(torch.tensor([1.0, 1e-9], dtype=torch.float64)))[0]
    tensor([1.0000e-09, 1.0000e+00], dtype=torch.float64)
    """
    unit = largest_entry(matrix)
    unit = torch.where(unit > 0, unit, 1)
    A = matrix.tril()
    A = (A + A.tril(-1).mH) / unit
    X = _orthonormal(_vectors(A))
    for share in STAGES:
        S = _rotated(A, X)
        X = _orthonormal(X @ _vectors(_small_block(S, share)))
    for _ in range(CORRECTIONS):
        S = _rotated(A, X)
        values = S.diagonal(dim1=-2, dim2=-1).real
        gap = values.unsqueeze(-2) - values.unsqueeze(-1)
        E = S / torch.where(gap == 0, torch.inf, gap)
        X = X + X @ torch.where(E.abs() < LARGEST_ROTATION / S.shape[-1], E, 0)
        X = _orthonormal(_orthonormal(_orthonormal(X)))
    values = _rotated(A, X).diagonal(dim1=-2, dim2=-1).real
    values, order = values.sort(-1)
    return values * unit.squeeze(-1), X.gather(-1, order.unsqueeze(-2).expand_as(X))


def _vectors(A: Tensor) -> Tensor:
    single = torch.float32 if not A.is_complex() else COMPLEX[torch.float32]
    vectors: Tensor = torch.linalg.eigh(A.to(single)).eigenvectors.to(A.dtype)
    return vectors


def _rotated(A: Tensor, X: Tensor) -> Tensor:
    S = X.mH @ A @ X
    return (S + S.mH) / 2


def _orthonormal(X: Tensor) -> Tensor:
    """X (3 I - X^H X)/2, which squares how far the columns of X are from being orthonormal."""
    return 1.5 * X - 0.5 * X @ (X.mH @ X)


def _small_block(S: Tensor, share: float) -> Tensor:
    """What S (..., n, n) has between diagonal entries below ``share`` of the largest, scaled to 1.

    The others, outside, become numbers above 2, all different and in their order, which a decomposition leaves alone.
    """
    values = S.diagonal(dim1=-2, dim2=-1).real.abs()
    small = values < share * values.amax(-1, keepdim=True)
    block = torch.where(small.unsqueeze(-1) & small.unsqueeze(-2), S, 0)
    unit = largest_entry(block)
    rank = 2 + torch.arange(S.shape[-1], dtype=values.dtype, device=S.device) / S.shape[-1]
    return block / torch.where(unit > 0, unit, 1) + torch.diag_embed(torch.where(small, 0, rank)).to(S.dtype)
