"""Square roots and inverse square roots of matrices by approximants, with the Lyapunov equation as gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, no_derivative, without_autocast
from gcp.errors import OptionError
from gcp.features import check_matrix, symmetric, working
from gcp.methods import METHODS, RootOptions
from gcp.options import make_options
from gcp.registry import Names, resolve
from gcp.roots.semidefinite import require_semidefinite
from gcp.scaling import largest_entry, safe_unit
from gcp.tracing import constant

APPROXIMANTS = Names(METHODS, lambda info: info.approximant is not None)


@dataclass(frozen=True)
class Root:
    """What is computed: ``approximant(A, degree, inverse)`` of a matrix of norm 1, and how far forward and backward.

    ``roundoff``: of the dtype of matrices that are to be checked for negative eigenvalues; None: they are covariances.
    """

    approximant: Callable[[Tensor, int, bool], Tensor]
    options: RootOptions
    inverse: bool = False
    roundoff: float | None = None


def matrix_root(matrix: Tensor, method: str = "mpa", *, inverse: bool = False, **options: Any) -> Tensor:
    """The square root, or inverse square root, of symmetric positive semi-definite matrices, by matrix products.

    Args:
        matrix: (..., n, n), any floating dtype; its symmetric part is taken. Computed in that dtype, float32 at least.
        method: "mpa" (matrix Pade approximant) or "mtp" (matrix Taylor polynomial).
        inverse: the inverse square root. Of a singular matrix it is finite: the approximant's largest value.
        options: ``degree`` and ``backward_iterations`` of the method.

    Returns:
        (..., n, n), symmetric, in the dtype of ``matrix``. Each matrix is divided by its own Frobenius norm before, and
        the result compensated afterwards; matrices that are 0 give 0, for the inverse too.

    Raises:
        DtypeError: not a tensor of real floating-point numbers.
        ShapeError: not square.
        DomainError: a negative eigenvalue beyond rounding, except in an exported program; NaN stays NaN.
        UnknownNameError, OptionError: no such method, or an option it does not have or that is out of range.

    >>> matrix_root(torch.diag(torch.tensor([4.0, 1.0]))).round(decimals=3)
    tensor([[2., 0.],
            [0., 1.]])
    """
    check_matrix(matrix)
    built = _root(method, options, inverse, torch.finfo(matrix.dtype).eps)
    if matrix.is_meta or not matrix.numel():  # a shape and a history, which is all there is to know
        return symmetric(matrix)
    root: Tensor = MatrixRoot.apply(working(matrix), built)
    return root.to(matrix.dtype)


@constant
def _root(name: str, options: dict[str, Any], inverse: bool, roundoff: float) -> Root:
    info = METHODS.get(name)
    if info.approximant is None:
        raise OptionError(f"'{name}' is no approximant of matrix roots; those are {', '.join(APPROXIMANTS)}")
    built = make_options(info.options, options, f"method '{name}'")
    assert isinstance(built, RootOptions)
    return Root(resolve(info.approximant), built, inverse, roundoff)


class MatrixRoot(ReverseMode):
    """B = P^(1/2) or P^(-1/2); dℓ/dP is `MatrixRootGradient`, which needs B alone."""

    @staticmethod
    def forward(matrix: Tensor, root: Root) -> Tensor:
        """B (..., n, n) of the symmetric part of ``matrix``."""
        with without_autocast(matrix):
            if root.roundoff is not None and not torch.compiler.is_exporting():
                matrix = require_semidefinite(matrix, root.roundoff)
            unit = safe_unit(largest_entry(matrix).sqrt())
            matrix = symmetric(matrix / unit / unit)
            norm = torch.linalg.matrix_norm(matrix, keepdim=True)
            empty = norm == 0
            safe = torch.where(empty, 1, norm)
            B = root.approximant(matrix / safe, root.options.degree, root.inverse)
            compensation = safe.rsqrt() / unit if root.inverse else safe.sqrt() * unit
            return symmetric(B) * torch.where(empty, 0, compensation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Root], output: Tensor) -> None:
        """Keep the root."""
        ctx.root = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """dℓ/dP (..., n, n) from dℓ/dB (..., n, n)."""
        return MatrixRootGradient.apply(grad, *ctx.saved_tensors, ctx.root), None


class MatrixRootGradient(ReverseMode):
    """dℓ/dP = X with B X + X B = sym(dℓ/dB) for B = P^(1/2), and -B^2 X B^2 with the same X for B = P^(-1/2).

    The gradient of the exact root at the approximated one; what the approximant's own error would add is left out.
    """

    @staticmethod
    def forward(grad: Tensor, B: Tensor, root: Root) -> Tensor:
        """X (..., n, n)."""
        with without_autocast(B):
            X = lyapunov_solution(B, symmetric(grad.to(B.dtype)), root.options.backward_iterations)
            if root.inverse:
                B2 = B @ B
                X = -(B2 @ X @ B2)
            return X

    backward = no_derivative("second derivatives of a matrix root by approximants are not implemented; use isqrt")


def lyapunov_solution(B: Tensor, C: Tensor, iterations: int) -> Tensor:
    """X with B X + X B = C, by the Newton-Schulz iteration for the sign of [[B, C], [0, -B]].

    B <- B (3 I - B^2)/2 tends to I and C <- (3 C - B^2 C - C B^2 + B C B)/2 to 2 X (ICLR 2022, arXiv 2201.08663). Each
    matrix is divided by |B^2|_F^(1/2) first, as published: no less than its largest eigenvalue, and where eigenvalues
    are many much less than |B|_F. A matrix that is 0 gives 0.

    Args:
        B: (..., n, n), symmetric positive semi-definite.
        C: (..., n, n), symmetric.
        iterations: at least 1; in the eigenbasis of B, entry (i, j) has converged when the smaller of b_i, b_j is well
            above 1.5^-iterations |B^2|^(1/2).

    >>> lyapunov_solution(torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2), iterations=10).round(decimals=3)
    tensor([[0.2500, 0.3330],
            [0.3330, 0.5000]])
    """
    unit = safe_unit(largest_entry(B))
    B, C = B / unit, C / unit
    norm = torch.linalg.matrix_norm(B @ B, keepdim=True).sqrt()
    empty = norm == 0
    inverse = torch.where(empty, 0, 1 / torch.where(empty, 1, norm))
    B, C = B * inverse, C * inverse
    for step in range(iterations):
        B2, BC = B @ B, B @ C
        # C B^2 is the transpose of B^2 C; without the symmetric part, rounding would double in each step.
        C = symmetric(3 * C - 2 * (B @ BC) + BC @ B) / 2
        if step < iterations - 1:
            B = (3 * B - B @ B2) / 2
    return C / 2
