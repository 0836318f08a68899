"""The one function of features whose derivative holds a method's kernel; in both modes, once and twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcp.autograd import BothModes, keep, no_derivative, without_autocast
from gcp.features import eye_like, is_marked, symmetric
from gcp.scaling import narrowed
from gcp.spectral.covariance_curvature import covariance_curvature
from gcp.spectral.decomposition import factorise
from gcp.spectral.loewner import Loewner
from gcp.spectral.method import FORWARD, SECOND, SpectralMethod
from gcp.spectral.parameter import ParameterSlope, ParameterTangent, last_derivative

THIRD = "third derivatives of a spectral layer are not implemented"


class FactoredKernel(NamedTuple):
    """L among the factors' eigenvalues and towards the null space, in the dtype of the products.

    Attributes:
        root: sqrt(lam), (B, 1, n).
        among: L_ij, (B, n, n).
        null: L(lam_i, 0), (B, 1, n).
        loewner: the kernel they are parts of.
    """

    root: Tensor
    among: Tensor
    null: Tensor
    loewner: Loewner


class CovarianceFunction(BothModes):
    """Z = f(covariance of x), whose derivative is `CovarianceTangent`, and gradient `CovarianceGradient`.

    The factors U, lam and V of the centred features Xc = U diag(sqrt lam) V^H are outputs as well, saved for the
    derivative. Nobody differentiates them; but one of U (B, C, n) and V (B, N, n) has the shape of x or of its
    transpose, since n is C or N, and in its place cotangents and tangents of x go from one derivative to the next.
    """

    @staticmethod
    def forward(x: Tensor, parameter: Tensor | None, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Z (B, C, C), then U, lam, V of `factorise`; x is (B, C, N), ``parameter`` that of the method's map."""
        method = method.at(parameter)
        U, eigenvalues, V = factorise(x, method.options)
        channels = U.shape[-2]
        if method.function.vanishes_at_zero and method.keep is None:
            Z = torch.bmm(U * method.function.value(eigenvalues).to(U.dtype).unsqueeze(-2), U.mH)
            return Z.to(x.dtype), U, eigenvalues, V
        values = method.values(eigenvalues, channels, V.shape[-2])
        if method.function.vanishes_at_zero:
            Z = torch.bmm(U * values[..., :-1].to(U.dtype).unsqueeze(-2), U.mH)
        else:
            base = values[..., -1:]
            Z = torch.bmm(U * (values[..., :-1] - base).to(U.dtype).unsqueeze(-2), U.mH)
            Z = Z + eye_like(Z) * base.to(U.dtype).unsqueeze(-1)
        return Z.to(x.dtype), U, eigenvalues, V

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor | None, SpectralMethod], output: tuple[Tensor, ...]
    ) -> None:
        """Keep the factors: (B, C, n) and (B, N, n), nothing C x C when N < C."""
        x, parameter, ctx.method = inputs
        ctx.dtype = x.dtype
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)  # a derivative that is 0 comes as None
        keep(ctx, *output[1:], parameter)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, dU: Tensor | None, _: None, dV: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """dℓ/dx (B, C, N) from dℓ/dZ (B, C, C) and, in a second derivative, from a factor's place; dℓ/dparameter."""
        U, eigenvalues, V, parameter = ctx.saved_tensors
        total = _taken(dU, dV, U, V)
        total = None if total is None else total.to(ctx.dtype)
        slope: Tensor | None = None
        if grad is not None:
            final = last_derivative(parameter, ctx.method)
            through_value = CovarianceGradient.apply(grad, U, eigenvalues, V, final, ctx.method).to(ctx.dtype)
            total = through_value if total is None else total + through_value
            if parameter is not None and ctx.needs_input_grad[1]:
                slope = ParameterSlope.apply(grad, U, eigenvalues, parameter, V.shape[-2], ctx.method)
        return total, slope, None

    @staticmethod
    def tangent(ctx: Any, moved: Tensor | None, parameter_moved: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        """dZ (B, C, C) from dx and dparameter; and dx, in the place of a factor's tangent."""
        ctx.method.require_exact(FORWARD)
        U, eigenvalues, V, parameter = ctx.saved_tensors
        parts = []
        if moved is not None:
            final = last_derivative(parameter, ctx.method)
            parts.append(CovarianceTangent.apply(moved, U, eigenvalues, V, final, ctx.method))
        if parameter_moved is not None:
            parts.append(ParameterTangent.apply(parameter_moved, U, eigenvalues, parameter, V.shape[-2], ctx.method))
        total = sum(parts[1:], parts[0]).to(ctx.dtype)
        dU, dV = (None, None) if moved is None else _placed(moved, U, V)
        return total, torch.zeros_like(U) if dU is None else dU, None, torch.zeros_like(V) if dV is None else dV


class CovarianceGradient(BothModes):
    """dℓ/dx from dℓ/dZ, by the kernel of the method.

    The covariance P = Xc Xc^H is never differentiated on its own: with Xc = U diag(sqrt lam) V^H and
    A = U^H sym(G) U, G = dℓ/dZ, M_ij = L_ij sqrt(lam_j) and m0_j = L(lam_j, 0) sqrt(lam_j),

        dℓ/dXc = 2 [U ((M - 1 m0^T) o A) + sym(G) U diag(m0) + c U diag(sqrt lam)] V^H,

    which needs U only where lam > 0, the null space entering through the projector I - U U^H; and the result is
    centred already. sqrt(lam) is folded into L because L alone grows like 1/sqrt(lam). For f(0) != 0,
    Z = f(0) I + U (f - f(0)) U^H, whose divided differences are those of f.
    """

    @staticmethod
    def forward(
        grad: Tensor, U: Tensor, eigenvalues: Tensor, V: Tensor, parameter: Tensor | None, method: SpectralMethod
    ) -> Tensor:
        """dℓ/dx (B, C, N), in the dtype of U; ``grad`` is (B, C, C)."""
        method = method.at(parameter)
        positions = V.shape[-2]
        with without_autocast(U):
            kernel = _kernel(method, eigenvalues, U, V)
            G, unit = narrowed(grad, U.dtype)
            S, halves = (G, 1) if is_marked(grad) else (G + G.mH, 2)  # sym(G), times so many
            SU = torch.bmm(S, U)
            A = torch.bmm(U.mH, SU)
            root = kernel.root * (2 / halves / positions**0.5)
            folded = (kernel.among - kernel.null).mul_(root).to(U.dtype)
            T = torch.addcmul(torch.bmm(U, folded * A), SU, (kernel.null * root).to(U.dtype))
            if kernel.loewner.trace is not None:
                c = kernel.loewner.trace_coefficient(A / halves, G)
                T = T + U * (halves * c[..., None, None] * root).to(U.dtype)
            grad_x: Tensor = torch.bmm(T, V.mH)
            if isinstance(unit, Tensor):
                grad_x = grad_x * unit
        return grad_x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all inputs."""
        *tensors, ctx.method = inputs
        ctx.set_materialize_grads(False)  # a derivative that is 0 comes as None
        keep(ctx, *tensors)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cotangents of dℓ/dZ and, in the place of a factor's, of x; DerivativeError for most methods."""
        ctx.method.require_exact(SECOND)
        if cotangent is None:
            return (None,) * 6
        grad, U, eigenvalues, V, parameter = ctx.saved_tensors
        by_grad = dU = dV = None
        if ctx.needs_input_grad[0]:
            by_grad = CovarianceTangent.apply(cotangent, U, eigenvalues, V, parameter, ctx.method).to(grad.dtype)
        if ctx.needs_input_grad[1]:
            dU, dV = _placed(CovarianceCurvature.apply(cotangent, grad, U, eigenvalues, V, parameter, ctx.method), U, V)
        by_parameter = torch.zeros_like(parameter) if ctx.needs_input_grad[4] else None  # which `refusing` refuses
        return by_grad, dU, None, dV, by_parameter, None

    @staticmethod
    def tangent(
        ctx: Any, grad_moved: Tensor | None, dU: Tensor | None, _: None, dV: Tensor | None, *others: Tensor | None
    ) -> Tensor:
        """That of dℓ/dx from those of dℓ/dZ and, in the place of a factor's, of x."""
        ctx.method.require_exact(FORWARD)
        grad, U, eigenvalues, V, parameter = ctx.saved_tensors
        parts = []
        if grad_moved is not None:
            parts.append(CovarianceGradient.apply(grad_moved, U, eigenvalues, V, parameter, ctx.method))
        moved = _taken(dU, dV, U, V)
        if moved is not None:
            parts.append(CovarianceCurvature.apply(moved, grad, U, eigenvalues, V, parameter, ctx.method).to(U.dtype))
        total: Tensor = sum(parts[1:], parts[0])
        return total


class CovarianceTangent(BothModes):
    """The derivative of Z in a direction w of x: the transpose of `CovarianceGradient`, by the same kernel.

    With w centred and divided by sqrt(N), R = w Xc^H + Xc w^H, of which the null-null block is 0, and the weights t of
    `Loewner.trace`, dZ = U (L o R_rr + tr(R) diag(t)) U^H + N U^H + U N^H + tr(R) t_0 (I - U U^H), where N is what R
    has between U and the null space, times L(lam_j, 0).
    """

    @staticmethod
    def forward(
        w: Tensor, U: Tensor, eigenvalues: Tensor, V: Tensor, parameter: Tensor | None, method: SpectralMethod
    ) -> Tensor:
        """dZ (B, C, C), in the dtype of U; w is (B, C, N)."""
        method = method.at(parameter)
        with without_autocast(U):
            kernel = _kernel(method, eigenvalues, U, V)
            moved = w.to(U.dtype)
            wV = (moved - moved.mean(-1, keepdim=True)) @ (V / V.shape[-2] ** 0.5)
            inside = U.mH @ wV
            folded = (kernel.among * kernel.root).to(U.dtype) * inside
            across = (wV - U @ inside) * (kernel.null * kernel.root).to(U.dtype)
            half = U @ folded + across  # its product with U^H, and the transpose
            change = half @ U.mH
            change = change + change.mH
            trace_weights = kernel.loewner.trace
            if trace_weights is not None:
                trace = 2 * (inside.diagonal(dim1=-2, dim2=-1).real * kernel.root.squeeze(-2)).sum(-1, keepdim=True)
                weights, null = trace_weights[..., :-1] * trace, trace_weights[..., -1:] * trace
                change = change + (U * (weights - null).to(U.dtype).unsqueeze(-2)) @ U.mH
                change = change + eye_like(change) * null.to(U.dtype).unsqueeze(-1)
            result: Tensor = change
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all inputs."""
        *tensors, ctx.method = inputs
        ctx.set_materialize_grads(False)  # a derivative that is 0 comes as None
        keep(ctx, *tensors)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cotangents of w and, in the place of a factor's, of x; DerivativeError for most methods."""
        if cotangent is None:
            return (None,) * 6
        w, U, eigenvalues, V, parameter = ctx.saved_tensors
        by_direction = dU = dV = None
        if ctx.needs_input_grad[0]:
            by_direction = CovarianceGradient.apply(cotangent, U, eigenvalues, V, parameter, ctx.method).to(w.dtype)
        if ctx.needs_input_grad[1]:
            dU, dV = _placed(CovarianceCurvature.apply(w, cotangent, U, eigenvalues, V, parameter, ctx.method), U, V)
        by_parameter = torch.zeros_like(parameter) if ctx.needs_input_grad[4] else None
        return by_direction, dU, None, dV, by_parameter, None

    tangent = no_derivative(
        "forward-mode derivatives of forward-mode derivatives of a covariance are not implemented; use "
        "torch.func.hessian, or jacfwd of jacrev"
    )


class CovarianceCurvature(BothModes):
    """`covariance_curvature`: the gradient of <w, dℓ/dx> with respect to x, and the derivative of dℓ/dx along w."""

    @staticmethod
    def forward(
        w: Tensor,
        grad: Tensor,
        U: Tensor,
        eigenvalues: Tensor,
        V: Tensor,
        parameter: Tensor | None,
        method: SpectralMethod,
    ) -> Tensor:
        """(B, C, N), in double precision; w is (B, C, N), ``grad`` (B, C, C).

        Raises:
            DerivativeError: a method or function that has no second derivative.
        """
        method = method.at(parameter)
        method.require_twice_differentiable()
        with without_autocast(U):
            double = torch.promote_types(U.dtype, torch.float64)
            w, grad, U, V = (part.to(double) for part in (w, grad, U, V))
            return covariance_curvature(w, symmetric(grad), U, eigenvalues.double(), V, method)

    backward = no_derivative(THIRD)
    tangent = no_derivative(THIRD)


def _placed(E: Tensor, U: Tensor, V: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """E (B, C, N) in the place of U (B, C, n) or, transposed, of V (B, N, n); the other one's is None."""
    return (E.to(U.dtype), None) if U.shape[-1] == V.shape[-2] else (None, E.mH.to(V.dtype))


def _taken(dU: Tensor | None, dV: Tensor | None, U: Tensor, V: Tensor) -> Tensor | None:
    """What `_placed` placed."""
    if U.shape[-1] == V.shape[-2]:
        return dU
    return None if dV is None else dV.mH


def _kernel(method: SpectralMethod, eigenvalues: Tensor, U: Tensor, V: Tensor) -> FactoredKernel:
    loewner = method.loewner(eigenvalues, U.shape[-2], V.shape[-2])
    null = loewner.matrix[..., :-1, -1].unsqueeze(-2)
    return FactoredKernel(eigenvalues.sqrt().unsqueeze(-2), loewner.matrix[..., :-1, :-1], null, loewner)
