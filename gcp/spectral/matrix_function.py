"""A function of symmetric matrices, with a method's kernel in its backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, no_derivative, without_autocast
from gcp.errors import DomainError
from gcp.features import at_least_float32, eye_like, sample_list, symmetric
from gcp.rounding import negative_rounding, null_floor
from gcp.scaling import narrowed
from gcp.spectral import lapack
from gcp.spectral.decomposition import finite_samples
from gcp.spectral.maps import SpectralMap
from gcp.spectral.method import SpectralMethod
from gcp.spectral.parameter import ParameterSlope
from gcp.spectral.range import out_of_range, range_error


class MatrixFunction(ReverseMode):
    """Z = U diag(f(lam)) U^T of P = U diag(lam) U^T, a matrix's symmetric part; its gradient is `MatrixGradient`."""

    generate_vmap_rule = False  # `vmap` below

    @staticmethod
    def forward(
        matrix: Tensor, parameter: Tensor | None, method: SpectralMethod, unit: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Z (B, n, n), then eigenvectors (B, n, n) and eigenvalues (B, n).

        The latter two are kept for the backward and nobody differentiates them; that they could be is what lets
        `MatrixGradient` notice, and refuse, a second derivative.

        Args:
            matrix: (B, n, n).
            parameter: that of the method's map, or None.
            method: the method.
            unit: (B, 1, 1), what the matrices were divided by, or None.

        Raises:
            NonFiniteError, DomainError, DecompositionError: as `spectral_function`.
        """
        method = method.at(parameter)
        size = matrix.shape[-1]
        finite_samples(matrix, zero=False, what="matrix")
        working = matrix.to(method.working)
        eps = max(torch.finfo(kind).eps for kind in (matrix.dtype, working.dtype))
        eigenvalues, U = eigenpairs(symmetric(working), method.function, eps, unit)
        values = method.values(eigenvalues, size, size)[..., :-1]
        finite = values.isfinite().all(-1)
        if not finite.all():
            samples = sample_list(~finite)
            raise DomainError(f"{method.function.name} is not finite at an eigenvalue of matrix {samples[0]}", samples)
        check_range(values, method, matrix.dtype, unit)
        mixed = method.options.precision == "mixed"
        U = U.to(at_least_float32(matrix.dtype) if mixed else working.dtype)
        Z = (U * values.to(U.dtype).unsqueeze(-2)) @ U.mT
        return Z.to(matrix.dtype), U, eigenvalues

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the eigenpairs."""
        _, parameter, ctx.method, _ = inputs
        ctx.save_for_backward(*output[1:], parameter)
        ctx.set_materialize_grads(False)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """One call after the other: what is checked is data, which no generated rule may look into."""
        results = []
        for index in range(info.batch_size):
            one = [
                value if dim is None else value.select(dim, index) for value, dim in zip(inputs, in_dims, strict=True)
            ]
            results.append(MatrixFunction.apply(*one))
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0, 0, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """dℓ/dP (B, n, n) and dℓ/dparameter from dℓ/dZ (B, n, n)."""
        if grad is None:
            return None, None, None, None
        saved = U, _, parameter = ctx.saved_tensors
        slope = None
        if parameter is not None and ctx.needs_input_grad[1]:
            slope = ParameterSlope.apply(grad, *saved, U.shape[-1], ctx.method)
        return MatrixGradient.apply(grad, *saved, ctx.method), slope, None, None


class MatrixGradient(ReverseMode):
    """dℓ/dP from dℓ/dZ, by the kernel of the method.

    With G = dℓ/dZ and c the trace coefficient of `Loewner`, dℓ/dP = U (L o (U^T sym(G) U)) U^T + c I, which is
    symmetric, hence also the gradient of the matrix whose symmetric part was taken.
    """

    @staticmethod
    def forward(
        grad: Tensor, U: Tensor, eigenvalues: Tensor, parameter: Tensor | None, method: SpectralMethod
    ) -> Tensor:
        """dℓ/dP (B, n, n), in the dtype of ``grad`` (B, n, n)."""
        method = method.at(parameter)
        size = U.shape[-1]
        with without_autocast(U):
            loewner = method.loewner(eigenvalues, size, size)
            G, unit = narrowed(grad, U.dtype)
            A = U.mT @ symmetric(G) @ U
            grad_matrix = U @ (loewner.matrix[..., :-1, :-1].to(U.dtype) * A) @ U.mT
            if loewner.trace is not None:
                c = loewner.trace_coefficient(A, G).to(U.dtype)
                grad_matrix = grad_matrix + eye_like(A) * c[..., None, None]
        return (grad_matrix * unit).to(grad.dtype)

    backward = no_derivative("second derivatives of a spectral function of a matrix are not implemented")


def eigenpairs(matrix: Tensor, function: SpectralMap, eps: float, unit: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues (B, n), descending in magnitude, and eigenvectors (B, n, n) of symmetric matrices (B, n, n).

    Of a and -a the positive one stands first. Where f or its slope is infinite at 0, or f lives on lam >= 0, null
    eigenvalues are exactly 0: those of either sign that storing and computing the matrix in its own dtype explains. A
    negative one beyond that floor, but within what long sums leave, shows how much they left: positive ones of that
    size are null, too.

    Args:
        matrix: (B, n, n), symmetric, in the dtype to decompose in.
        function: the map to be applied; decides which eigenvalues are admitted.
        eps: unit roundoff of the dtype the matrix came in, or is decomposed in if that is coarser.
        unit: (B, 1, 1), what the matrices were divided by, for messages.

    Raises:
        DomainError: a negative eigenvalue, or a null one where the function is infinite; names the matrices.
        DecompositionError: a matrix that cannot be decomposed in any way.
    """
    eigenvalues, vectors = (part.flip(-1) for part in lapack.eigh(matrix))
    if not function.nonnegative:
        order = eigenvalues.abs().argsort(dim=-1, descending=True, stable=True)
        eigenvalues = eigenvalues.gather(-1, order)
        vectors = vectors.gather(-1, order.unsqueeze(-2).expand_as(vectors))
        if not function.singular_at_zero:
            return eigenvalues, vectors
    floor = null_floor(eigenvalues, eps)
    if function.nonnegative:
        least = eigenvalues[..., -1:]
        rounding = negative_rounding(matrix.shape[-1], eps) * eigenvalues.abs().amax(-1, keepdim=True)
        negative = (least < -floor.maximum(rounding)).any(-1)
        if negative.any():
            samples = sample_list(negative)
            scale = 1 if unit is None else unit[samples[0]].item()
            raise DomainError(
                f"{function.name} needs positive semi-definite matrices; matrix {samples[0]} has the eigenvalue "
                f"{least[samples[0]].item() * scale:.3g}",
                samples,
            )
        floor = floor.maximum(-least)
    present = eigenvalues.abs() > floor
    if not function.finite_at_zero and not present.all():
        samples = sample_list(~present.all(-1))
        remedy = "; set eps, for instance eps=1e-5" if function.nonnegative else ""
        raise DomainError(
            f"{function.name} is infinite at 0 and matrix {samples[0]} is singular to the precision of its type"
            + remedy,
            samples,
        )
    return torch.where(present, eigenvalues, 0), vectors


def check_range(values: Tensor, method: SpectralMethod, dtype: torch.dtype, unit: Tensor | None) -> None:
    """Raise DomainError if a result's largest value (B, n) overflows ``dtype``, or vanishes where f scales with P."""
    degree = method.degree
    largest = values.abs().amax(-1, keepdim=True).double()
    if unit is not None and degree is not None:
        largest = largest * unit.flatten(1).double() ** degree
    outside = out_of_range(largest.to(dtype), values if degree is not None else torch.zeros_like(values))
    if outside.any():
        samples = sample_list(outside)
        raise range_error(f"{method.function.name} of matrix {samples[0]}", dtype, "matrix", samples)
