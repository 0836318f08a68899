"""A function of symmetric matrices, with a method's kernel in its backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autocast import without_autocast
from gcp.errors import DerivativeError, DomainError
from gcp.spectral import lapack
from gcp.spectral.decomposition import rounding_floor
from gcp.spectral.function import SpectralMethod
from gcp.spectral.maps import SpectralMap
from gcp.spectral.samples import sample_list


class MatrixFunction(torch.autograd.Function):
    """Z = U diag(f(lam)) U^T of P = U diag(lam) U^T, a matrix's symmetric part; its gradient is `MatrixGradient`."""

    @staticmethod
    def forward(matrix: Tensor, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor]:
        """Z (B, n, n), then eigenvectors (B, n, n) and eigenvalues (B, n).

        The latter two are kept for the backward and nobody differentiates them; that they could be is what lets
        `MatrixGradient` notice, and refuse, a second derivative.
        """
        size = matrix.shape[-1]
        working = matrix.to(torch.float32 if method.options.precision == "float32" else torch.float64)
        eigenvalues, U = eigenpairs((working + working.mT) / 2, method.function, torch.finfo(matrix.dtype).eps)
        values = method.values(eigenvalues, size, size)[..., :-1]
        finite = values.isfinite().all(-1)
        if not finite.all():
            samples = sample_list(~finite)
            raise DomainError(f"{method.function.name} is not finite at an eigenvalue of matrix {samples[0]}", samples)
        mixed = method.options.precision == "mixed"
        U = U.to(torch.promote_types(matrix.dtype, torch.float32) if mixed else working.dtype)
        Z = (U * values.to(U.dtype).unsqueeze(-2)) @ U.mT
        return Z.to(matrix.dtype), U, eigenvalues

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, SpectralMethod], output: tuple[Tensor, ...]) -> None:
        """Keep the eigenpairs."""
        _, U, eigenvalues = output
        ctx.method = inputs[1]
        ctx.save_for_backward(U, eigenvalues)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None]:
        """dL/dP (B, n, n) from dL/dZ (B, n, n)."""
        if grad is None:
            return None, None
        return MatrixGradient.apply(grad, *ctx.saved_tensors, ctx.method), None


class MatrixGradient(torch.autograd.Function):
    """dL/dP from dL/dZ, by the kernel of the method.

    With G = dL/dZ and c the trace coefficient of `Loewner`, dL/dP = U (L o (U^T sym(G) U)) U^T + c I, which is
    symmetric, hence also the gradient of the matrix whose symmetric part was taken.
    """

    @staticmethod
    def forward(grad: Tensor, U: Tensor, eigenvalues: Tensor, method: SpectralMethod) -> Tensor:
        """dL/dP (B, n, n), in the dtype of ``grad`` (B, n, n)."""
        size = U.shape[-1]
        with without_autocast(U):
            loewner = method.loewner(eigenvalues, size, size)
            G = grad.to(U.dtype)
            A = U.mT @ ((G + G.mT) / 2) @ U
            grad_matrix = U @ (loewner.matrix[..., :-1, :-1].to(U.dtype) * A) @ U.mT
            if loewner.trace is not None:
                c = loewner.trace_coefficient(A, G).to(U.dtype)
                grad_matrix = grad_matrix + torch.eye(size, dtype=U.dtype, device=U.device) * c[..., None, None]
        return grad_matrix.to(grad.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Not available."""
        raise DerivativeError("second derivatives of a spectral function of a matrix are not implemented")


def eigenpairs(matrix: Tensor, function: SpectralMap, precision: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues (B, n), descending in magnitude, and eigenvectors (B, n, n) of symmetric matrices (B, n, n).

    For a function that lives on lam >= 0, null eigenvalues are exactly 0: those the decomposition cannot tell from 0,
    and negative ones that storing the matrix in its own dtype explains.

    Args:
        matrix: (B, n, n), symmetric, in the dtype to decompose in.
        function: the map to be applied; decides which eigenvalues are admitted.
        precision: unit roundoff of the dtype the matrix came in.

    Raises:
        DomainError: a negative eigenvalue, or a null one where the function is infinite; names the matrices.
        DecompositionError: a matrix that cannot be decomposed in any way.
    """
    eigenvalues, vectors = lapack.eigh(matrix)
    if not function.nonnegative:
        order = eigenvalues.abs().argsort(dim=-1, descending=True, stable=True)
        return eigenvalues.gather(-1, order), vectors.gather(-1, order.unsqueeze(-2).expand_as(vectors))
    eigenvalues, vectors = eigenvalues.flip(-1), vectors.flip(-1)
    size = matrix.shape[-1]
    largest = eigenvalues[..., :1].abs().maximum(eigenvalues[..., -1:].abs())
    # Rounding each entry perturbs the matrix by at most eps sqrt(n) |P|; sums of products round a few times more. The
    # cap keeps half-precision matrices honest.
    negative = (eigenvalues < -min(16 * size**0.5 * precision, 0.1) * largest).any(-1)
    if negative.any():
        samples = sample_list(negative)
        least = f"{float(eigenvalues[samples[0], -1]):.3g}"
        raise DomainError(
            f"{function.name} needs positive semi-definite matrices; matrix {samples[0]} has the eigenvalue {least}",
            samples,
        )
    present = eigenvalues > rounding_floor(eigenvalues, size, size)
    if not function.finite_at_zero and not present.all():
        samples = sample_list(~present.all(-1))
        raise DomainError(
            f"{function.name} is infinite at 0 and matrix {samples[0]} is singular to working precision; "
            "set eps, for instance eps=1e-5",
            samples,
        )
    return torch.where(present, eigenvalues, 0), vectors
