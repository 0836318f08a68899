"""The covariance layer as the reference implementation computes it, mistakes included, each of which can be mended.

Formulas of KingJamesSong/DifferentiableSVD in the words of this project (design notes, section 2), written anew. It is
here to be measured and belongs to no library. With every mistake mended it gives the gradients of `gcp` (tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmarks.baselines.triangle import ClassicalTriangle

METHODS = ("original", "trunc", "topn", "taylor", "pade", "pi")
DEGREE, LIMIT, KEPT = 100, 1e10, 206 / 256


@dataclass(frozen=True)
class Errata:
    """Mistakes of the reference; False: mended.

    Attributes:
        ties: K_ij and K_ji of equal eigenvalues have the same sign, and what overflows becomes the batch's largest
            entry; mended: inside an eigenspace the limit f' of the divided difference.
        floor: null eigenvalues are those below the absolute unit roundoff eps, are raised to it and get the gradient
            0.5/sqrt(eps), what topn drops too; mended: those below a floor relative to the largest one, without one.
        centring: the centring matrix is rounded to float32; mended: it has the working precision.

    That pi applies I - U U^T with all eigenvectors, which is rounding, and drops the eigenvalues' gradient leaves
    nothing to mend.
    """

    ties: bool = True
    floor: bool = True
    centring: bool = True


MENDED = Errata(False, False, False)


class HistoricalPooling(nn.Module):
    """(B, C, H, W) to (B, C (C + 1)/2).

    Args:
        method: of METHODS.
        errata: which mistakes it makes.
        dtype: the working precision; the reference's is float64.
    """

    def __init__(self, method: str, errata: Errata | None = None, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.method, self.errata, self.dtype = method, errata or Errata(), dtype

    def forward(self, features: Tensor) -> Tensor:
        """Covariance, root, triangle."""
        x = features.flatten(2).to(self.dtype)
        positions = x.shape[2]
        made_in = torch.float32 if self.errata.centring else self.dtype
        centring = torch.eye(positions, dtype=made_in) / positions - torch.full((), 1 / positions**2, dtype=made_in)
        covariance = x @ centring.to(self.dtype) @ x.mT
        root = _Root.apply(covariance, self.method, self.errata, positions)
        vector: Tensor = ClassicalTriangle.apply(root).to(features.dtype)
        return vector


class _Root(torch.autograd.Function):
    """Square root of P (B, C, C) by its SVD, with the published backward."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, method: str, errata: Errata, positions: int) -> Tensor:
        """Null eigenvalues by the floor; topn cuts the smallest ones."""
        U, values, _ = torch.linalg.svd(covariance)
        channels, eps = values.shape[-1], torch.finfo(values.dtype).eps
        floor = eps if errata.floor else eps * max(channels, positions) * values[:, :1]
        null = values <= floor
        if method == "topn":
            null[:, max(1, round(KEPT * channels)) :] = True
        values = torch.where(null, eps if errata.floor else 0.0, values)
        ctx.save_for_backward(U, values, null)
        ctx.method, ctx.errata, ctx.positions = method, errata, positions
        root: Tensor = (U * values.sqrt().unsqueeze(-2)) @ U.mT
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dℓ/dP = U (L o A) U^T, L from K."""
        U, values, null = ctx.saved_tensors
        A = U.mT @ ((grad + grad.mT) / 2) @ U
        root = values.sqrt()
        if ctx.method == "pi":
            projector = torch.eye(U.shape[-1], dtype=U.dtype) - U @ U.mT  # rounding
            inner = projector @ U @ (2 * A * root.unsqueeze(-2) / values.unsqueeze(-2))
            grad_P = inner @ U.mT
            return (grad_P + grad_P.mT) / 2, None, None, None
        K = quotient(values, ctx.method)
        if ctx.errata.ties:
            K = _repaired(K)
        weighted = K * root.unsqueeze(-1)
        L = weighted + weighted.mT  # of K_ij sqrt(lam_i) + K_ji sqrt(lam_j)
        slope = 0.5 / root  # f'
        L = torch.where(torch.eye(values.shape[-1], dtype=torch.bool), slope.unsqueeze(-1), L)
        if not ctx.errata.ties:
            floor = torch.finfo(values.dtype).eps * max(values.shape[-1], ctx.positions) * values[:, :1, None]
            tied = (values.unsqueeze(-1) - values.unsqueeze(-2)).abs() <= floor
            L = torch.where(tied, (slope.unsqueeze(-1) + slope.unsqueeze(-2)) / 2, L)
        if not ctx.errata.floor:
            L = L.masked_fill(null.unsqueeze(-1) & null.unsqueeze(-2), 0)
        return U @ (L * A) @ U.mT, None, None, None


def quotient(values: Tensor, method: str) -> Tensor:
    """K as published, (B, C, C); at ties with the sign of the first of them in both places, the diagonal 0."""
    rows, columns = values.unsqueeze(-1), values.unsqueeze(-2)
    gap = rows - columns
    larger = torch.maximum(rows, columns)
    sign = torch.where(gap >= 0, 1.0, -1.0).to(values.dtype)
    ratio = torch.minimum(rows, columns) / larger
    if method == "taylor":
        series = torch.ones_like(ratio)
        for _ in range(DEGREE):
            series = 1 + ratio * series
        K = sign * series / larger
    elif method == "pade":
        K = sign / ((1 - ratio) * larger)
    else:  # 1/0 and 1/(-0) both come out as +inf there: the gap of equal numbers is +0
        K = gap.reciprocal()
        K = K.clamp(-LIMIT, LIMIT) if method == "trunc" else K
    return K.masked_fill(torch.eye(values.shape[-1], dtype=torch.bool), 0)


def _repaired(K: Tensor) -> Tensor:
    """Infinities become the largest or smallest finite entry of the batch, NaN 0."""
    finite = K[K.isfinite()]
    K = torch.where(K.isposinf(), finite.max(), K)
    K = torch.where(K.isneginf(), finite.min(), K)
    return K.nan_to_num(0.0)
