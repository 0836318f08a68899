"""A function of symmetric or Hermitian matrices, its derivative by a method's kernel, and the derivative of that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, no_derivative, without_autocast
from gcp.dtypes import COMPLEX, real_of
from gcp.features import at_least_float32, eye_like, symmetric
from gcp.scaling import narrowed
from gcp.spectral.curvature import require_curvature
from gcp.spectral.eigenpairs import eigenpairs
from gcp.spectral.loewner import shifted
from gcp.spectral.method import FORWARD, SECOND, SpectralMethod
from gcp.spectral.parameter import ParameterSlope, ParameterTangent, last_derivative
from gcp.spectral.range import checked_values

THIRD = "third derivatives of a spectral function are not implemented"


class MatrixFunction(BothModes):
    """Z = U diag(f(lam)) U^H of P = U diag(lam) U^H, a matrix's Hermitian part; `MatrixDerivative` is its derivative.

    The eigenvectors and eigenvalues are outputs as well, saved for the derivative. Nobody differentiates them; but
    U has the shape of P, and in its place cotangents and tangents of P go from one derivative to the next.
    """

    @staticmethod
    def forward(
        matrix: Tensor, parameter: Tensor | None, method: SpectralMethod, unit: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Z (B, n, n), then eigenvectors (B, n, n) and eigenvalues (B, n).

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
        kind = COMPLEX[method.working] if matrix.is_complex() else method.working
        eps = max(torch.finfo(matrix.dtype).eps, torch.finfo(kind).eps)
        checked = method.options.nonfinite != "nan"
        eigenvalues, U = eigenpairs(matrix.to(kind), method.function, eps, unit, checked, method.options.solver)
        values = method.values(eigenvalues, size, size)[..., :-1]
        if checked:
            values = checked_values(values, method.function.name, matrix.dtype, method.degree, unit)
        mixed = method.options.precision == "mixed"
        U = U.to(at_least_float32(matrix.dtype) if mixed else kind)
        Z = (U * values.to(real_of(U.dtype)).unsqueeze(-2)) @ U.mH
        return Z.to(matrix.dtype), U, eigenvalues

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the eigenpairs."""
        matrix, parameter, ctx.method, _ = inputs
        ctx.dtype = matrix.dtype
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)  # a derivative that is 0 comes as None
        keep(ctx, *output[1:], parameter)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, carried: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        """dℓ/dP (B, n, n) and dℓ/dparameter from dℓ/dZ (B, n, n) and, of a second derivative, what U's place has."""
        U, eigenvalues, parameter = ctx.saved_tensors
        final = last_derivative(parameter, ctx.method)
        total = None if carried is None else carried.to(ctx.dtype)
        slope = None
        if grad is not None:
            through_value = MatrixDerivative.apply(grad, U, eigenvalues, final, ctx.method, True)
            total = through_value if total is None else total + through_value
            if parameter is not None and ctx.needs_input_grad[1]:
                slope = ParameterSlope.apply(grad, U, eigenvalues, parameter, U.shape[-1], ctx.method)
        return total, slope, None, None

    @staticmethod
    def tangent(ctx: Any, moved: Tensor | None, parameter_moved: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """dZ (B, n, n) from dP and dparameter; and dP, in the place of dU."""
        ctx.method.require_exact(FORWARD)
        U, eigenvalues, parameter = ctx.saved_tensors
        final = last_derivative(parameter, ctx.method)
        total = None
        if moved is not None:
            total = MatrixDerivative.apply(moved, U, eigenvalues, final, ctx.method, False)
        if parameter_moved is not None:
            through_parameter = ParameterTangent.apply(
                parameter_moved, U, eigenvalues, parameter, U.shape[-1], ctx.method
            ).to(ctx.dtype)
            total = through_parameter if total is None else total + through_parameter
        return total, torch.zeros_like(U) if moved is None else moved.to(U.dtype), None


class MatrixDerivative(BothModes):
    """The derivative of f(P) in a direction X, or its adjoint, the gradient dℓ/dP for X = dℓ/dZ, by a method's kernel.

    With A = U^H sym(X) U and the weights t of `Loewner.trace`,

        derivative    U (L o A + tr(X) diag(t)) U^H,
        gradient      U (L o A) U^H + (sum_i t_i A_ii) I,

    which is Hermitian, hence also the gradient of the matrix whose Hermitian part was taken. Only the exact kernel's
    derivative is ever asked for.
    """

    @staticmethod
    def forward(
        X: Tensor, U: Tensor, eigenvalues: Tensor, parameter: Tensor | None, method: SpectralMethod, adjoint: bool
    ) -> Tensor:
        """(B, n, n), in the dtype of ``X`` (B, n, n)."""
        method = method.at(parameter)
        size = U.shape[-1]
        with without_autocast(U):
            loewner = method.loewner(eigenvalues, size, size)
            G, unit = narrowed(X, U.dtype)
            A = U.mH @ symmetric(G) @ U
            inner = loewner.matrix[..., :-1, :-1].to(real_of(U.dtype)) * A
            if loewner.trace is not None and not adjoint:
                trace = G.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True).real
                inner = inner + (trace * loewner.trace[..., :-1]).to(U.dtype).diag_embed()
            result = U @ inner @ U.mH
            if loewner.trace is not None and adjoint:
                c = loewner.trace_coefficient(A, G).to(U.dtype)
                result = result + eye_like(A) * c[..., None, None]
        return (result * unit).to(X.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all inputs."""
        *tensors, ctx.method, ctx.adjoint = inputs
        ctx.set_materialize_grads(False)  # a derivative that is 0 comes as None
        keep(ctx, *tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cotangents of X, and of P in the place of U's; DerivativeError for most methods."""
        ctx.method.require_exact(SECOND)
        if grad is None:
            return (None,) * 6
        X, U, eigenvalues, parameter = ctx.saved_tensors
        by_direction = by_matrix = None
        if ctx.needs_input_grad[0]:
            by_direction = MatrixDerivative.apply(grad, U, eigenvalues, parameter, ctx.method, not ctx.adjoint)
        if ctx.needs_input_grad[1]:
            pair = (X, grad) if ctx.adjoint else (grad, X)
            by_matrix = MatrixCurvature.apply(*pair, U, eigenvalues, parameter, ctx.method, True)
        by_parameter = torch.zeros_like(parameter) if ctx.needs_input_grad[3] else None  # which `refusing` refuses
        return by_direction, by_matrix, None, by_parameter, None, None

    @staticmethod
    def tangent(ctx: Any, X_moved: Tensor | None, moved: Tensor | None, *_: Tensor | None) -> Tensor:
        """That of the result from those of X and, in the place of U's, of P."""
        ctx.method.require_exact(FORWARD)
        X, U, eigenvalues, parameter = ctx.saved_tensors
        parts = []
        if X_moved is not None:
            parts.append(MatrixDerivative.apply(X_moved, U, eigenvalues, parameter, ctx.method, ctx.adjoint))
        if moved is not None:
            parts.append(
                MatrixCurvature.apply(X, moved, U, eigenvalues, parameter, ctx.method, ctx.adjoint).to(X.dtype)
            )
        total: Tensor = sum(parts[1:], parts[0])
        return total


class MatrixCurvature(BothModes):
    """The second derivative of f(P) in two directions X and Y; or, from a cotangent X of Z and Y, one of P.

    In the eigenbasis, with second divided differences of f,

        Q_ij = sum_k f[i, k, j] (A_ik B_kj + B_ik A_kj),   A = U^H sym(X) U,   B = U^H sym(Y) U,

    which is symmetric in X, Y and the matrix it is multiplied with: hence it serves all derivatives of the first
    derivative. Where f is applied to P + (eps tr(P)/n) I, directions of P, and cotangents of P, are moved by the same
    share of their trace.
    """

    @staticmethod
    def forward(
        X: Tensor,
        Y: Tensor,
        U: Tensor,
        eigenvalues: Tensor,
        parameter: Tensor | None,
        method: SpectralMethod,
        adjoint: bool,
    ) -> Tensor:
        """(B, n, n), in double precision; Y is a direction of P, and X one of Z if ``adjoint``.

        Raises:
            DerivativeError: a method or function that has no second derivative, or none at one of the matrices.
        """
        method = method.at(parameter)
        method.require_twice_differentiable()
        function, size = method.function, U.shape[-1]
        with without_autocast(U):
            U = U.to(torch.promote_types(U.dtype, torch.float64))
            shifted_eigenvalues = shifted(eigenvalues.double(), size, function)[..., :-1]
            require_curvature(function.second_derivative(shifted_eigenvalues), function.name)
            share = function.relative_shift / size
            A, B = (U.mH @ symmetric(part.to(U.dtype)) @ U for part in (X, Y))
            M = function.second_product(
                shifted_eigenvalues, A if adjoint else with_trace(A, share), with_trace(B, share)
            )
            Q = M + M.mH
            return U @ (with_trace(Q, share) if adjoint else Q) @ U.mH

    backward = no_derivative(THIRD)
    tangent = no_derivative(THIRD)


def with_trace(A: Tensor, share: float) -> Tensor:
    """A + share tr(A) I of (B, n, n)."""
    if share == 0:
        return A
    return A + share * A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] * eye_like(A)
