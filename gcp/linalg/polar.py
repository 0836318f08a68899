"""The polar factor, and what else is one: nearest orthogonal matrices and rotations."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, without_autocast
from gcp.dtypes import REAL
from gcp.errors import DtypeError, ShapeError
from gcp.linalg.decompose import check_flag, check_matrices, singular_triplets
from gcp.linalg.factored import Kernel, between_bases
from gcp.linalg.vector_method import reciprocal
from gcp.rounding import null_floor
from gcp.scaling import exact_unit


def polar(A: Tensor, *, precision: str = "mixed") -> Tensor:
    """Q of the polar decomposition A = Q H, Q = U V^H: the matrix with orthonormal columns (or rows) nearest to A.

    The gradient, with 1/(s_i + s_j) and no gap, is exact at equal singular values, and so are all higher derivatives.
    Of a matrix without full rank Q is the partial isometry with the same null space, which depends on no choice of a
    basis; Q jumps there, and nothing flows within null spaces. H is Q^H A.

    Args:
        A: (..., m, n), real or complex, any floating dtype.
        precision: as in `gcp.linalg.singular_function`.

    Returns:
        (..., m, n), in the dtype of ``A``.

    Raises:
        DtypeError, ShapeError: ``A`` is no tensor of numbers (..., m, n).
        NonFiniteError, DecompositionError: as `gcp.linalg.svd`.

    >>> polar(torch.diag(torch.tensor([4.0, -9.0, 0.0])))
    tensor([[ 1.,  0.,  0.],
            [ 0., -1.,  0.],
            [ 0.,  0.,  0.]])
    """
    check_matrices(A)
    if not A.numel():
        return A.clone()

    with without_autocast(A):
        A = A / exact_unit(A)
        U, s, V = singular_triplets(A, precision)
        floor = null_floor(s, torch.finfo(A.dtype).eps)
        present = (s > floor).unsqueeze(-2)
        return polar_factor(A, Factors(U * present, torch.where(s > floor, s, 0), V * present, floor, complete=False))


def procrustes(A: Tensor, rotation: bool = True, *, precision: str = "mixed") -> Tensor:
    """The orthogonal matrix nearest to A, which maximises tr(X^T A): a rotation (Kabsch), or any.

    Exact at equal singular values, to any order. The nearest matrix is not unique, and then one of them without a
    gradient along what is undetermined, where s_{n-1} + det(U V^T) s_n = 0 (rotations) or A is singular (any).

    Args:
        A: (..., n, n), real; without ``rotation`` (..., m, n) with m >= n, complex, too.
        rotation: whether the determinant has to be 1.
        precision: as in `polar`.

    Returns:
        (..., n, n), in SO(n); or (..., m, n), with orthonormal columns; in the dtype of ``A``.

    Raises:
        As `polar`; ShapeError for a rotation that is not square, or fewer rows than columns; DtypeError for a complex
        rotation.

    >>> procrustes(torch.diag(torch.tensor([4.0, 1.0, -2.0])))
    tensor([[ 1.,  0.,  0.],
            [ 0., -1.,  0.],
            [ 0.,  0., -1.]])
    """
    check_flag(rotation, "rotation")
    check_matrices(A, square=rotation)
    rows, columns = A.shape[-2:]
    if rows < columns:
        raise ShapeError(f"fewer rows than columns, {rows} and {columns}, cannot have orthonormal columns; transpose A")
    if rotation and A.is_complex():
        raise DtypeError("rotations are real; for the nearest unitary matrix set rotation=False")
    if not A.numel():
        return A.clone()

    with without_autocast(A):
        A = A / exact_unit(A)
        U, s, V = singular_triplets(A, precision)
        floor = null_floor(s, torch.finfo(A.dtype).eps)
        if rotation:
            sign = torch.linalg.det(U @ V.mT).sign()
            last = torch.cat([torch.ones_like(s[..., 1:]), sign.unsqueeze(-1).to(s.dtype)], -1)
            s, V = s * last, V * last.unsqueeze(-2).to(V.dtype)
        return polar_factor(A, Factors(U, s, V, floor, complete=rows == columns))


def nearest_rotation(A: Tensor, *, precision: str = "mixed") -> Tensor:
    """The rotation nearest to A, in SO(n): (..., n, n) to (..., n, n). `procrustes`, by another of its names.

    >>> nearest_rotation(2 * torch.eye(3)).diagonal()
    tensor([1., 1., 1.])
    """
    return procrustes(A, rotation=True, precision=precision)


class Factors(NamedTuple):
    """A = U diag(s) V^H, of which U V^H is wanted.

    Attributes:
        U: (..., m, k), V: (..., n, k); columns of null singular values may be 0 in both.
        s: (..., k), which may be negative as long as sums of two are not.
        V: see U.
        floor: (..., 1), up to which a sum of two is null.
        complete: whether U and V are square and unitary.
    """

    U: Tensor
    s: Tensor
    V: Tensor
    floor: Tensor
    complete: bool


def polar_factor(A: Tensor, factors: Factors) -> Tensor:
    """U V^H with its derivatives of any order, from A and its factors, which need no history.

    >>> one = torch.ones(1, 1)
    >>> polar_factor(torch.tensor([[-3.0]]), Factors(-one, torch.tensor([3.0]), one, torch.tensor([0.0]), True))
    tensor([[-1.]])
    """
    U, s, V, floor, complete = factors
    real = REAL.get(U.dtype, U.dtype)
    sums = reciprocal(s.unsqueeze(-1) + s.unsqueeze(-2), floor.unsqueeze(-1)).to(real)
    null = None if complete else reciprocal(s, floor).to(real)
    result: Tensor = PolarFactor.apply(A.to(U.dtype), U, V, sums, null)
    return result.to(A.dtype)


class PolarFactor(BothModes):
    """Q = U V^H, whose derivative is `PolarDerivative`."""

    @staticmethod
    def forward(A: Tensor, U: Tensor, V: Tensor, sums: Tensor, null: Tensor | None) -> Tensor:
        """(..., m, n); U, V, 1/(s_i + s_j) and 1/s_i, of A, are constants, from which nothing follows but Q."""
        return U @ V.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep A, Q and the factors."""
        A, *factors = inputs
        keep(ctx, A, output, *factors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dℓ/dA."""
        return PolarDerivative.apply(grad, *ctx.saved_tensors), None, None, None, None

    @staticmethod
    def tangent(ctx: Any, dA: Tensor | None = None, *_: Tensor | None) -> Tensor:
        """DQ in direction dA."""
        dQ: Tensor = PolarDerivative.apply(dA, *ctx.saved_tensors)
        return dQ


class PolarDerivative(BothModes):
    """X = dQ in direction G, its own adjoint: (B_ij - conj(B_ji))/(s_i + s_j), and B/s towards null spaces.

    Since A = K Q = Q H it solves K X + X H = G - Q G^H Q; but where s_i + s_j is small, as for the last singular value
    of a plane cloud of points, B - B^H is 0 without rounding.
    """

    @staticmethod
    def forward(G: Tensor, A: Tensor, Q: Tensor, U: Tensor, V: Tensor, sums: Tensor, null: Tensor | None) -> Tensor:
        """(..., m, n)."""
        with without_autocast(U):
            return between_bases(G, U, V, Kernel(sums, -sums, null))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all."""
        keep(ctx, *inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Cotangents of G, A and Q."""
        G, A, Q, *factors, X = ctx.saved_tensors
        with without_autocast(A):
            T = Sylvester.apply(grad, A, Q, *factors)
            gA, gQ = _through_equation(T, X, A, Q)
            gQ = gQ - T @ (Q.mH @ G) - G @ (Q.mH @ T)
            return PolarDerivative.apply(grad, A, Q, *factors), gA, gQ, None, None, None, None

    @staticmethod
    def tangent(
        ctx: Any, dG: Tensor | None = None, dA: Tensor | None = None, dQ: Tensor | None = None, *_: Tensor | None
    ) -> Tensor:
        """DX."""
        G, A, Q, *factors, X = ctx.saved_tensors
        with without_autocast(A):
            right = _of_equation(dA, dQ, X, A, Q)
            if dQ is not None:
                right = right - dQ @ (G.mH @ Q) - Q @ (G.mH @ dQ)
            dX: Tensor = Sylvester.apply(right, A, Q, *factors)
            return dX if dG is None else dX + PolarDerivative.apply(dG, A, Q, *factors)


class Sylvester(BothModes):
    """X with K X + X H = R, K = A Q^H and H = Q^H A: entries B_ij/(s_i + s_j) of B = U^H R V; its own adjoint.

    Its derivatives are solutions of the same equation: K dX + dX H = dR - dK X - X dH.
    """

    @staticmethod
    def forward(R: Tensor, A: Tensor, Q: Tensor, U: Tensor, V: Tensor, sums: Tensor, null: Tensor | None) -> Tensor:
        """(..., m, n)."""
        with without_autocast(U):
            return between_bases(R, U, V, Kernel(sums, None, null))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all."""
        keep(ctx, *inputs[1:], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Cotangents of R, A and Q."""
        A, Q, *factors, X = ctx.saved_tensors
        with without_autocast(A):
            T = Sylvester.apply(grad, A, Q, *factors)
            return T, *_through_equation(T, X, A, Q), None, None, None, None

    @staticmethod
    def tangent(
        ctx: Any, dR: Tensor | None = None, dA: Tensor | None = None, dQ: Tensor | None = None, *_: Tensor | None
    ) -> Tensor:
        """DX."""
        A, Q, *factors, X = ctx.saved_tensors
        with without_autocast(A):
            right = _of_equation(dA, dQ, X, A, Q)
            dX: Tensor = Sylvester.apply(right if dR is None else right + dR, A, Q, *factors)
            return dX


def _through_equation(T: Tensor, X: Tensor, A: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """Cotangents of A and Q for -<T, dK X + X dH>."""
    XT, TX = X.mH @ T, T.mH @ X
    return -T @ (X.mH @ Q) - Q @ XT, -X @ (T.mH @ A) - A @ TX


def _of_equation(dA: Tensor | None, dQ: Tensor | None, X: Tensor, A: Tensor, Q: Tensor) -> Tensor:
    """-(dK X + X dH)."""
    right = torch.zeros_like(X)
    if dA is not None:
        right = right - dA @ (Q.mH @ X) - X @ (Q.mH @ dA)
    if dQ is not None:
        right = right - A @ (dQ.mH @ X) - X @ (dQ.mH @ A)
    return right
