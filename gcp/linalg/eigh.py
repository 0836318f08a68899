"""Eigenvalues and eigenvectors of Hermitian matrices, differentiated by a method of the registry."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, without_autocast
from gcp.dtypes import REAL
from gcp.errors import OptionError
from gcp.features import symmetric
from gcp.linalg.decompose import check_matrices, eigenpairs
from gcp.linalg.gauge import check_gauge
from gcp.linalg.vector_method import Final, Origin, Quotients, VectorMethod, derivative, vector_method
from gcp.scaling import exact_unit

ADVICE = (
    "the loss depends on which eigenvectors were chosen for equal eigenvalues, or unequally on those, where it has no "
    "derivative: use gcp.linalg.eigenprojector for eigenspaces, gcp.spectral_function for functions of the matrix"
)


class Eigenpairs(NamedTuple):
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n), in columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(A: Tensor, UPLO: str = "L", method: str = "taylor", **options: Any) -> Eigenpairs:
    """`torch.linalg.eigh` with a gradient that does not blow up at close eigenvalues.

    With M = U^H gU the gradient is U herm(diag(glam) + E o M) U^H, where E_ij stands for 1/(lam_j - lam_i): the exact
    quotient for ``original`` and ``pade``, bounded for ``taylor``, ``pi``, ``trunc`` and ``lorentz``; ``topn`` has
    gradients of the n largest only, in magnitude. ``taylor`` and ``pi`` are exact for eigenvalues of opposite signs.
    Inside an eigenspace, where gaps are rounding, E is 0. Second derivatives are those of the exact methods; the others
    refuse them.

    Args:
        A: (..., n, n), real or complex, any floating dtype; only one triangle is read.
        UPLO: which one, "L" or "U".
        method: one of pade, taylor, pi, trunc, topn, original, lorentz.
        options: of the method; ``precision``, as in `gcp.spectral_function`; ``gauge``, of a loss that depends on the
            basis inside an eigenspace: "warn" (default), "raise" or "ignore".

    Returns:
        Eigenvalues (..., n), ascending, and eigenvectors (..., n, n), in the dtype of ``A``.

    Raises:
        DtypeError, ShapeError: ``A`` is no tensor of numbers (..., n, n).
        NonFiniteError, DecompositionError: a matrix with NaN or infinity, or that does not converge; names it.
        UnknownNameError, OptionError: an unknown method, one that has a meaning for functions only, or an option out
            of place.
        GaugeError, DerivativeError: in the backward, with ``gauge="raise"``; for second derivatives.

    >>> A = torch.eye(2).requires_grad_()
    >>> eigenvalues, eigenvectors = eigh(A)
    >>> (eigenvectors @ eigenvectors.mT).sum().backward()  # the identity, whatever A: torch.linalg.eigh gives NaN
    >>> A.grad
    tensor([[0., 0.],
            [0., 0.]])
    """
    check_matrices(A, square=True)
    if UPLO not in ("L", "U"):
        raise OptionError(f"UPLO must be L or U, got {UPLO!r}")
    prepared = vector_method(method, options, signed=True)
    prepared.options.check_channels(A.shape[-1])
    with without_autocast(A):
        if not prepared.options.scale_free or not A.numel():
            eigenvalues, vectors = Eigh.apply(A, prepared, UPLO == "U")
            return _in_dtype(eigenvalues, vectors, A)
        unit = exact_unit(_triangle(A.detach(), UPLO == "U"))
        eigenvalues, vectors = Eigh.apply(A / unit, prepared, UPLO == "U")
        return _in_dtype(eigenvalues * unit.squeeze(-1), vectors, A)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """`torch.linalg.eigvalsh`: the eigenvalues (..., n), ascending, whose gradient U diag(glam) U^H needs no quotient.

    At equal eigenvalues a loss that depends on them unequally has no gradient; second derivatives are exact where
    eigenvalues are apart. Arguments and errors as `eigh`.

    >>> A = torch.eye(2).requires_grad_()
    >>> eigvalsh(A).sum().backward()
    >>> A.grad
    tensor([[1., 0.],
            [0., 1.]])
    """
    return eigh(A, UPLO, "original").eigenvalues


def _triangle(A: Tensor, upper: bool) -> Tensor:
    return A.triu().mH if upper else A.tril()


def _in_dtype(eigenvalues: Tensor, vectors: Tensor, A: Tensor) -> Eigenpairs:
    return Eigenpairs(eigenvalues.to(REAL.get(A.dtype, A.dtype)), vectors.to(A.dtype))


class Eigh(BothModes):
    """Eigenpairs; their derivatives are `gradient` and `tangent_of_pairs`."""

    @staticmethod
    def forward(A: Tensor, method: VectorMethod, upper: bool) -> tuple[Tensor, Tensor]:
        """Eigenvalues in the dtype that is decomposed in, eigenvectors in that of the products."""
        return eigenpairs(_triangle(A, upper), method.options.precision)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the eigenpairs."""
        A, ctx.method, _ = inputs
        ctx.dtype = A.dtype
        ctx.origin = Origin(A.shape[-1], A.shape[-1], torch.finfo(A.dtype).eps)
        keep(ctx, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, glam: Tensor | None, gU: Tensor | None) -> tuple[Tensor | None, None, None]:
        """dℓ/dA, Hermitian."""
        if glam is None and gU is None:
            return None, None, None
        eigenvalues, U = ctx.saved_tensors
        grad: Tensor = derivative(gradient, EighGradient, ctx.method, ctx.origin, eigenvalues, U, glam, gU)
        return grad.to(ctx.dtype), None, None

    @staticmethod
    def tangent(ctx: Any, dA: Tensor | None = None, *_: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tangents of the eigenpairs."""
        eigenvalues, U = ctx.saved_tensors
        assert dA is not None
        tangents: tuple[Tensor, Tensor] = derivative(
            tangent_of_pairs, EighTangent, ctx.method, ctx.origin, eigenvalues, U, dA
        )
        return tangents


def gradient(
    method: VectorMethod,
    found: Quotients,
    eigenvalues: Tensor,
    U: Tensor,
    glam: Tensor | None,
    gU: Tensor | None,
) -> Tensor:
    """U herm(diag(glam) + E o M) U^H, M = U^H gU, E_ij = D_ji; (..., n, n)."""
    with without_autocast(U):
        M = None if gU is None else U.mH @ gU
        check_gauge(found.tied, M, glam, method.gauge, ADVICE, torch.finfo(U.dtype).eps)
        real = REAL.get(U.dtype, U.dtype)
        if glam is not None:
            glam = (glam if found.kept is None else glam * found.kept).to(real)
        if M is None:
            assert glam is not None
            return (U * glam.unsqueeze(-2)) @ U.mH
        core = symmetric(found.among.mT.to(real) * M)  # 0 on the diagonal
        if glam is not None:
            core = core.diagonal_scatter(glam.to(core.dtype), dim1=-2, dim2=-1)
        return U @ core @ U.mH


def tangent_of_pairs(
    method: VectorMethod, found: Quotients, eigenvalues: Tensor, U: Tensor, dA: Tensor
) -> tuple[Tensor, Tensor]:
    """Of eigenvalues diag(X) and of eigenvectors U (E o X), X = U^H herm(dA) U; the adjoint of `gradient`."""
    with without_autocast(U):
        X = U.mH @ symmetric(dA.to(U.dtype)) @ U
        diagonal = X.diagonal(dim1=-2, dim2=-1)
        dvalues = diagonal.real.clone().to(eigenvalues.dtype)
        if found.kept is not None:
            dvalues = dvalues * found.kept
        return dvalues, U @ (found.among.mT.to(REAL.get(U.dtype, U.dtype)) * X)


class EighGradient(Final):
    """`gradient`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str,
        method: VectorMethod,
        origin: Origin,
        eigenvalues: Tensor,
        U: Tensor,
        glam: Tensor | None,
        gU: Tensor | None,
    ) -> Tensor:
        """(..., n, n)."""
        return gradient(method, method.quotients(eigenvalues, origin), eigenvalues, U, glam, gU)


class EighTangent(Final):
    """`tangent_of_pairs`, without a derivative."""

    @staticmethod
    def forward(
        refusal: str, method: VectorMethod, origin: Origin, eigenvalues: Tensor, U: Tensor, dA: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of eigenvalues (..., n) and eigenvectors (..., n, n)."""
        return tangent_of_pairs(method, method.quotients(eigenvalues, origin), eigenvalues, U, dA)
