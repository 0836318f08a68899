"""The one function of features whose backward holds a method's kernel; its gradient; and the gradient of that."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from gcp.autograd import ReverseMode, no_derivative, without_autocast
from gcp.errors import DerivativeError
from gcp.features import eye_like, symmetric
from gcp.scaling import narrowed, safe_unit
from gcp.spectral.decomposition import factorise
from gcp.spectral.loewner import Loewner
from gcp.spectral.method import SpectralMethod
from gcp.spectral.parameter import ParameterSlope


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


class CovarianceFunction(ReverseMode):
    """Z = f(covariance of x), whose gradient is `CovarianceGradient`.

    The factors U, lam and V of the centred features Xc = U diag(sqrt lam) V^T are outputs as well, saved for the
    backward. They are outputs only so that a second derivative can reach x: `CovarianceGradient` is differentiated with
    respect to them, and autograd hands the result to the backward here, as dU (B, C, n) and dV (B, N, n). Together they
    stand for the gradient E = dU V^T + U dV^T with respect to Xc. Matrices of that form are the directions in which Xc
    keeps its rank: all there are when the rank is C, or N - 1 on centred features.
    """

    @staticmethod
    def forward(x: Tensor, parameter: Tensor | None, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Z (B, C, C), then U, lam, V of `factorise`; x is (B, C, N), ``parameter`` that of the method's map."""
        method = method.at(parameter)
        U, eigenvalues, V = factorise(x, method.options)
        channels = U.shape[-2]
        values = method.values(eigenvalues, channels, V.shape[-2])
        if method.function.vanishes_at_zero:
            Z = (U * values[..., :-1].to(U.dtype).unsqueeze(-2)) @ U.mT
        else:
            base = values[..., -1:]
            Z = (U * (values[..., :-1] - base).to(U.dtype).unsqueeze(-2)) @ U.mT
            Z = Z + eye_like(Z) * base.to(U.dtype).unsqueeze(-1)
        return Z.to(x.dtype), U, eigenvalues, V

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor | None, SpectralMethod], output: tuple[Tensor, ...]
    ) -> None:
        """Keep the factors: (B, C, n) and (B, N, n), nothing C x C when N < C."""
        x, parameter, ctx.method = inputs
        ctx.dtype = x.dtype
        ctx.save_for_backward(*output[1:], parameter)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, dU: Tensor | None, _: Tensor | None, dV: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """dℓ/dx (B, C, N) from dℓ/dZ (B, C, C) and, in a second derivative, a cotangent of Xc; dℓ/dparameter."""
        U, eigenvalues, V, parameter = ctx.saved_tensors
        total: Tensor | None = None
        slope: Tensor | None = None
        if grad is not None:
            total = CovarianceGradient.apply(grad, U, eigenvalues, V, parameter, ctx.method).to(ctx.dtype)
            if parameter is not None and ctx.needs_input_grad[1]:
                slope = ParameterSlope.apply(grad, U, eigenvalues, parameter, V.shape[-2], ctx.method)
        if dU is not None and dV is not None:
            through_gradient = ((dU @ V.mT + U @ dV.mT) / V.shape[-2] ** 0.5).to(ctx.dtype)
            total = through_gradient if total is None else total + through_gradient
        return total, slope, None


class CovarianceGradient(ReverseMode):
    """dℓ/dx from dℓ/dZ, by the kernel of the method.

    The covariance P = Xc Xc^T is never differentiated on its own: with Xc = U diag(sqrt lam) V^T and
    A = U^T sym(G) U, G = dℓ/dZ, M_ij = L_ij sqrt(lam_j) and m0_j = L(lam_j, 0) sqrt(lam_j),

        dℓ/dXc = 2 [U ((M - 1 m0^T) o A) + sym(G) U diag(m0) + c U diag(sqrt lam)] V^T,

    which needs U only where lam > 0, the null space entering through the projector I - U U^T; and the result is
    centred already. sqrt(lam) is folded into L because L alone grows like 1/sqrt(lam). For f(0) != 0,
    Z = f(0) I + U (f - f(0)) U^T, whose divided differences are those of f.
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
            folded = ((kernel.among - kernel.null) * kernel.root).to(U.dtype)
            null = (kernel.null * kernel.root).to(U.dtype)
            G, unit = narrowed(grad, U.dtype)
            GU = ((G + G.mT) @ U).mul_(0.5)  # sym(G) U; C x n is less to halve than C x C
            A = U.mT @ GU
            T = U @ (folded * A) + GU * null
            if kernel.loewner.trace is not None:
                c = kernel.loewner.trace_coefficient(A, G)
                T = T + U * (c[..., None, None] * kernel.root).to(U.dtype)
            grad_x: Tensor = (T * (2 / positions**0.5)) @ V.mT * unit
        return grad_x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep all inputs."""
        *tensors, ctx.method = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Cotangents of dℓ/dZ and of Xc, the latter as dU and dV; DerivativeError for most methods."""
        if not ctx.method.twice_differentiable:
            raise DerivativeError(
                "of the spectral methods only 'lyapunov' has second derivatives, those of the square root without eps; "
                "use it, or do not differentiate the gradient of this layer"
            )
        grad, U, eigenvalues, V, _ = ctx.saved_tensors
        dG, dU, dV = CovarianceHessian.apply(cotangent, grad, U, eigenvalues, V, ctx.method)
        return dG, dU, None, dV, None, None


class CovarianceHessian(ReverseMode):
    """Gradient of <w, dℓ/dx> with respect to dℓ/dZ and x, where dℓ/dx = 2 S Xc and Z S + S Z = sym(G) (lyapunov).

    Write X for Xc and lyap(R) for the solution of Z H + H Z = R. With H = lyap(w X^T + X w^T), the derivative of Z in
    direction w, the chain rule gives, because lyap is its own adjoint,

        d/dG = H,    d/dX = 2 [S w - lyap(H S + S H) X].

    Only Lyapunov equations: no quotient of eigenvalue gaps, so ties do no harm. Everything is kept in the form
    U M U^T + N U^T + U N^T with N orthogonal to U. The null-null block of S is the limit of G/(2 d) for a null space
    raised to d; its share of S w and of lyap(H S + S H) X cancels but for (I - U U^T) G (I - U U^T) w V/sqrt(lam) V^T.
    Where x could raise the rank (fewer non-null eigenvalues than min(C, N - 1)) the root has no second derivative;
    this is the one along matrices of the same rank.
    """

    @staticmethod
    def forward(
        w: Tensor, grad: Tensor, U: Tensor, eigenvalues: Tensor, V: Tensor, method: SpectralMethod
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cotangents of dℓ/dZ (B, C, C), and dU and dV of `CovarianceFunction`; w is (B, C, N)."""
        with without_autocast(U):
            # The result grows as 1/|Xc| does, parts of it as its square: in units of |Xc| they all fit the type.
            unit = safe_unit(eigenvalues[..., :1].sqrt().to(U.dtype))
            kernel = _kernel(method, eigenvalues / unit.to(eigenvalues.dtype) ** 2, U, V)
            root, L, null = (part.to(U.dtype) for part in kernel[:3])
            unit = unit.unsqueeze(-1)
            w = w.to(U.dtype)
            w = (w - w.mean(-1, keepdim=True)) / V.shape[-2] ** 0.5

            G = symmetric(grad.to(U.dtype))
            GU = G @ U
            A = U.mT @ GU
            S, S0 = L * A, (GU - U @ A) * null
            wV = w @ V
            B = U.mT @ wV
            w0 = wV - U @ B
            H, H0 = 2 * L * symmetric(B * root), w0 * (root * null)
            R, R0 = 2 * symmetric(H @ S + H0.mT @ S0), H0 @ S + S0 @ H
            K = (U @ (L * R) + R0 * null) * root  # lyap(H S + S H) X = K V^T

            dG = 2 * symmetric(U @ H @ U.mT / 2 + H0 @ U.mT)
            limit = G @ (w0 * null)
            dU = 2 * (U @ (S @ B + S0.mT @ wV) + S0 @ B - K + limit - U @ (U.mT @ limit))
            wSU = w.mT @ (U @ S + S0)
            dV = 2 * (wSU - V @ (V.mT @ wSU))
            return dG.to(grad.dtype), dU / unit, dV / unit

    backward = no_derivative("third derivatives of a spectral layer are not implemented")


def _kernel(method: SpectralMethod, eigenvalues: Tensor, U: Tensor, V: Tensor) -> FactoredKernel:
    loewner = method.loewner(eigenvalues, U.shape[-2], V.shape[-2])
    null = loewner.matrix[..., :-1, -1].unsqueeze(-2)
    return FactoredKernel(eigenvalues.sqrt().unsqueeze(-2), loewner.matrix[..., :-1, :-1], null, loewner)
