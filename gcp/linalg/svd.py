"""Singular value decomposition, differentiated by a method of the registry."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, no_derivative, without_autocast
from gcp.dtypes import REAL
from gcp.features import symmetric
from gcp.linalg.decompose import check_flag, check_matrices, singular_triplets
from gcp.linalg.gauge import check_gauge
from gcp.linalg.vector_method import Final, Origin, Quotients, VectorMethod, derivative, reciprocal, vector_method
from gcp.scaling import exact_unit

ADVICE = (
    "the loss depends on which singular vectors were chosen for equal or null singular values, or unequally on those, "
    "where it has no derivative: use gcp.linalg.polar, procrustes or singular_function, or gcp.linalg.eigenprojector "
    "of A A^H for subspaces"
)


class SVD(NamedTuple):
    """U (..., m, k), singular values S (..., k), descending, and Vh (..., k, n), k = min(m, n)."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(A: Tensor, full_matrices: bool = False, method: str = "taylor", **options: Any) -> SVD:
    """`torch.linalg.svd` with a gradient that does not blow up at close singular values.

    With a and b the skew parts of U^H gU and V^H gV, the gradient is U [(a + b)/2 o E + (a - b)/2/(s_i + s_j) +
    diag(gs)] V^H and what the complements of U and V add; E_ij stands for 1/(s_j - s_i), by the methods of
    `gcp.linalg.eigh`, and is 0 where singular values are equal but for rounding. 1/s and 1/(s_i + s_j) are 0 at null
    ones.

    Args:
        A: (..., m, n), real or complex, any floating dtype.
        full_matrices: all of U and V; such a result has no gradient unless A is square. False by default: in
            `torch.linalg.svd` it is True.
        method, options: as in `gcp.linalg.eigh`.

    Returns:
        U (..., m, k), S (..., k), descending, and Vh (..., k, n), k = min(m, n), in the dtype of ``A``.

    Raises:
        As `gcp.linalg.eigh`; DerivativeError in the backward of a result with ``full_matrices``, too.

    >>> A = torch.eye(2).requires_grad_()
    >>> U, S, Vh = svd(A)
    >>> (U @ Vh)[0, 1].backward()  # the polar factor: torch.linalg.svd gives NaN
    >>> A.grad
    tensor([[ 0.0000,  0.5000],
            [-0.5000,  0.0000]])
    """
    check_matrices(A)
    check_flag(full_matrices, "full_matrices")
    rows, columns = A.shape[-2:]
    prepared = vector_method(method, options, signed=False)
    prepared.options.check_channels(min(rows, columns))
    with without_autocast(A):
        if full_matrices and rows != columns:
            U, s, V = FullSVD.apply(A, prepared.options.precision)
            return _in_dtype(U, s, V, A)
        if not prepared.options.scale_free or not A.numel():
            U, s, V = SingularTriplets.apply(A, prepared)
            return _in_dtype(U, s, V, A)
        unit = exact_unit(A)
        U, s, V = SingularTriplets.apply(A / unit, prepared)
        return _in_dtype(U, s * unit.squeeze(-1), V, A)


def svdvals(A: Tensor) -> Tensor:
    """`torch.linalg.svdvals`: singular values (..., k), descending; the gradient U diag(gs) V^H needs no quotient.

    At equal ones a loss that depends on them unequally has no gradient, nor at null ones; second derivatives are exact
    where singular values are apart. Argument and errors as `svd`.

    >>> A = torch.eye(2).requires_grad_()
    >>> svdvals(A).sum().backward()
    >>> A.grad
    tensor([[1., 0.],
            [0., 1.]])
    """
    return svd(A, method="original").S


def _in_dtype(U: Tensor, s: Tensor, V: Tensor, A: Tensor) -> SVD:
    return SVD(U.to(A.dtype), s.to(REAL.get(A.dtype, A.dtype)), V.to(A.dtype).mH)


class SingularTriplets(BothModes):
    """U, s and V; their derivatives are `gradient` and `tangent_of_triplets`."""

    @staticmethod
    def forward(A: Tensor, method: VectorMethod) -> tuple[Tensor, Tensor, Tensor]:
        """As `singular_triplets`."""
        return singular_triplets(A, method.options.precision)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the triplets."""
        A, ctx.method = inputs
        ctx.dtype = A.dtype
        ctx.origin = Origin(min(A.shape[-2:]), max(A.shape[-2:]), torch.finfo(A.dtype).eps)
        keep(ctx, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gU: Tensor | None, gs: Tensor | None, gV: Tensor | None) -> tuple[Tensor | None, None]:
        """dℓ/dA."""
        if gU is None and gs is None and gV is None:
            return None, None
        U, s, V = ctx.saved_tensors
        grad: Tensor = derivative(gradient, SVDGradient, ctx.method, ctx.origin, s, U, V, gU, gs, gV)
        return grad.to(ctx.dtype), None

    @staticmethod
    def tangent(ctx: Any, dA: Tensor | None = None, *_: Tensor | None) -> tuple[Tensor, ...]:
        """Tangents of the triplets."""
        U, s, V = ctx.saved_tensors
        assert dA is not None
        tangents: tuple[Tensor, ...] = derivative(tangent_of_triplets, SVDTangent, ctx.method, ctx.origin, s, U, V, dA)
        return tangents


class FullSVD(BothModes):
    """All of U and V, without a derivative."""

    @staticmethod
    def forward(A: Tensor, precision: str) -> tuple[Tensor, Tensor, Tensor]:
        """U (..., m, m), s (..., k), V (..., n, n)."""
        return singular_triplets(A, precision, full_matrices=True)

    backward = no_derivative(
        "singular vectors of full_matrices=True have no derivative, as the last ones are arbitrary; use "
        "full_matrices=False"
    )
    tangent = backward


class Inverses(NamedTuple):
    """1/(s_i + s_j), (..., k, k), and 1/s (..., 1, k), in the dtype of products; 0 where they are infinite."""

    sums: Tensor
    singles: Tensor


def _inverses(found: Quotients, s: Tensor, real: torch.dtype) -> Inverses:
    if found.kept is not None:
        s = torch.where(found.kept, s, 0)  # what topn drops counts as null
    sums = reciprocal(s.unsqueeze(-1) + s.unsqueeze(-2), 2 * found.floor.unsqueeze(-1))
    return Inverses(sums.to(real), reciprocal(s, found.floor).to(real).unsqueeze(-2))


def gradient(
    method: VectorMethod,
    found: Quotients,
    s: Tensor,
    U: Tensor,
    V: Tensor,
    gU: Tensor | None,
    gs: Tensor | None,
    gV: Tensor | None,
) -> Tensor:
    """dℓ/dA, (..., m, n), from the cotangents of the triplets."""
    with without_autocast(U):
        real = REAL.get(U.dtype, U.dtype)
        if found.kept is not None:
            gs = None if gs is None else gs * found.kept
            gU, gV = (None if g is None else g * found.kept.unsqueeze(-2) for g in (gU, gV))
        if gU is None and gV is None:
            assert gs is not None
            check_gauge(found.tied, None, gs, method.gauge, ADVICE, torch.finfo(U.dtype).eps)
            return (U * gs.to(real).unsqueeze(-2)) @ V.mH
        gU, gV = (torch.zeros_like(side) if g is None else g for side, g in ((U, gU), (V, gV)))
        inverse = _inverses(found, s, real)
        MU, MV = U.mH @ gU, V.mH @ gV
        _check(method, found, s, MU + MV, MU - MV, gs, torch.finfo(U.dtype).eps)
        contrast = (MU - MV) / 2
        core = symmetric(found.among.mT.to(real) * (MU + MV)) + inverse.sums * (contrast - contrast.mH)
        if gs is not None:
            core = core + torch.diag_embed(gs.to(real))
        left = U @ core
        if U.shape[-2] > U.shape[-1]:
            left = left + (gU - U @ MU) * inverse.singles
        result = left @ V.mH
        if V.shape[-2] > V.shape[-1]:
            result = result + (U * inverse.singles) @ (gV - V @ MV).mH
        return result


def _check(
    method: VectorMethod,
    found: Quotients,
    s: Tensor,
    total: Tensor,
    contrast: Tensor,
    gs: Tensor | None,
    roundoff: float,
) -> None:
    check_gauge(found.tied, total, gs, method.gauge, ADVICE, roundoff)
    null = s <= found.floor
    # There U and V may be turned each on its own.
    check_gauge(null.unsqueeze(-1) & null.unsqueeze(-2), contrast, None, method.gauge, ADVICE, roundoff)


def tangent_of_triplets(
    method: VectorMethod, found: Quotients, s: Tensor, U: Tensor, V: Tensor, dA: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Tangents of U, s and V; the adjoint of `gradient`."""
    with without_autocast(U):
        real = REAL.get(U.dtype, U.dtype)
        inverse = _inverses(found, s, real)
        dA = dA.to(U.dtype)
        dAV = dA @ V
        B = U.mH @ dAV
        diagonal = B.diagonal(dim1=-2, dim2=-1).real.clone()
        alike = found.among.mT.to(real) * symmetric(B)
        opposite = inverse.sums * (B - B.mH) / 2
        dU, dV = U @ (alike + opposite), V @ (alike - opposite)
        if U.shape[-2] > U.shape[-1]:
            dU = dU + (dAV - U @ B) * inverse.singles
        if V.shape[-2] > V.shape[-1]:
            dV = dV + (dA.mH @ U - V @ B.mH) * inverse.singles
        if found.kept is not None:
            diagonal = diagonal * found.kept
            dU, dV = dU * found.kept.unsqueeze(-2), dV * found.kept.unsqueeze(-2)
        return dU, diagonal.to(s.dtype), dV


class SVDGradient(Final):
    """`gradient`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str,
        method: VectorMethod,
        origin: Origin,
        s: Tensor,
        U: Tensor,
        V: Tensor,
        gU: Tensor | None,
        gs: Tensor | None,
        gV: Tensor | None,
    ) -> Tensor:
        """(..., m, n)."""
        return gradient(method, method.quotients(s, origin), s, U, V, gU, gs, gV)


class SVDTangent(Final):
    """`tangent_of_triplets`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str, method: VectorMethod, origin: Origin, s: Tensor, U: Tensor, V: Tensor, dA: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of U, s and V."""
        return tangent_of_triplets(method, method.quotients(s, origin), s, U, V, dA)
