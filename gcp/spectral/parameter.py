"""The gradient of a function's own parameter, such as the exponent of a power."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autocast import without_autocast
from gcp.errors import DerivativeError
from gcp.kernels.loewner import Spectrum
from gcp.spectral.function import SpectralMethod


def with_parameter(Z: Tensor, U: Tensor, spectrum: Spectrum, method: SpectralMethod, parameter: Tensor) -> Tensor:
    """``Z`` unchanged, with a history that also leads to ``parameter``.

    Args:
        Z: (B, C, C), f(P) as a function of P.
        U: (B, C, n) eigenvectors of P, columns of null eigenvalues maybe 0.
        spectrum: of P, eigenvalues (B, n + 1).
        method: with the map f.
        parameter: one element; receives sum_i A_ii df(lam_i)/dparameter, A = U^T sym(G) U, the null space included.
    """
    weights = method.function.parameter_derivative(spectrum.eigenvalues)
    if method.keep is not None:
        weights = torch.where(method.keep(spectrum, method.options), weights, weights[..., -1:])
    # A copy of the parameter, because an optimiser may step between forward and backward.
    attached: Tensor = ParameterGradient.apply(Z, parameter.clone(), U, weights.detach().to(U.dtype))
    return attached


class ParameterGradient(torch.autograd.Function):
    """The identity on Z, whose gradient for the parameter is `ParameterSlope`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(Z: Tensor, parameter: Tensor, U: Tensor, weights: Tensor) -> Tensor:
        """Z (B, C, C)."""
        return Z.view_as(Z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        """Keep parameter, eigenvectors and weights."""
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradient itself, and the parameter's."""
        return grad, ParameterSlope.apply(grad, *ctx.saved_tensors), None, None


class ParameterSlope(torch.autograd.Function):
    """<G, dZ/dparameter> without ever forming dZ/dparameter, which is C x C."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, parameter: Tensor, U: Tensor, weights: Tensor) -> Tensor:
        """In the form of ``parameter``; ``weights`` (B, n + 1) are df(lam)/dparameter, the null space last."""
        with without_autocast(U):
            G = grad.to(U.dtype)
            diagonal = (U * (G @ U)).sum(-2)
            rest = G.diagonal(dim1=-2, dim2=-1).sum(-1) - diagonal.sum(-1)
            slope = (weights[..., :-1] * diagonal).sum() + (weights[..., -1] * rest).sum()
        return slope.to(parameter).reshape(parameter.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Not available."""
        raise DerivativeError("second derivatives with respect to a function's parameter are not implemented")
