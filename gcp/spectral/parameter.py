"""The gradient of a function's own parameter, such as the exponent of a power."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, no_derivative, without_autocast
from gcp.scaling import narrowed
from gcp.spectral.loewner import weighted_trace
from gcp.spectral.method import SpectralMethod


class ParameterSlope(ReverseMode):
    """<G, dZ/dparameter> = sum_i A_ii df(lam_i)/dparameter with A = U^T sym(G) U, the null space included.

    dZ/dparameter, which is C x C, is never formed.
    """

    @staticmethod
    def forward(
        grad: Tensor, U: Tensor, eigenvalues: Tensor, parameter: Tensor, positions: int, method: SpectralMethod
    ) -> Tensor:
        """In the form of ``parameter``.

        Args:
            grad: G (B, C, C).
            U: (B, C, n) eigenvectors, columns of null eigenvalues maybe 0.
            eigenvalues: (B, n).
            parameter: one element, of the method's map.
            positions: N of the features, C for a matrix.
            method: the method.
        """
        method = method.at(parameter)
        with without_autocast(U):
            spectrum = method.spectrum(eigenvalues, U.shape[-2], positions)
            weights = method.function.parameter_derivative(spectrum.eigenvalues)
            if method.keep is not None:
                weights = torch.where(method.keep(spectrum, method.options), weights, weights[..., -1:])
            G, unit = narrowed(grad, U.dtype)
            slopes = weighted_trace(weights.to(U.dtype), (U * (G @ U)).sum(-2), G)
            slope = (slopes[:, None, None] * unit).sum()
        return slope.to(parameter).reshape(parameter.shape)

    backward = no_derivative("second derivatives with respect to a function's parameter are not implemented")
