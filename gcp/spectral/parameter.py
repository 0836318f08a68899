"""The gradient of a function's own parameter, such as the exponent of a power."""

from __future__ import annotations

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
            parameter: of the method's map, one element, or one for each sample, (B, 1).
            positions: N of the features, C for a matrix.
            method: the method.
        """
        method = method.at(parameter)
        with without_autocast(U):
            weights = method.parameter_weights(eigenvalues, U.shape[-2], positions)
            G, unit = narrowed(grad, U.dtype)
            slopes = weighted_trace(weights, (U * (G @ U)).sum(-2), G)  # f' may be beyond float32
            of_samples = (slopes[:, None, None] * unit).flatten(1)  # (B, 1)
            slope = of_samples if parameter.shape == of_samples.shape else of_samples.sum()
        return slope.to(parameter).reshape(parameter.shape)

    backward = no_derivative("second derivatives with respect to a function's parameter are not implemented")
