"""The derivative by a function's own parameter, such as the exponent of a power."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gcp.autograd import BothModes, refusing, without_autocast
from gcp.dtypes import real_of
from gcp.errors import DerivativeError
from gcp.features import eye_like
from gcp.scaling import narrowed
from gcp.spectral.loewner import weighted_trace
from gcp.spectral.maps.shifted import Shifted
from gcp.spectral.method import SpectralMethod


def refusal(method: SpectralMethod) -> str:
    """What is said of a second derivative in which the parameter has a part."""
    if isinstance(method.function, Shifted):
        return "second derivatives of shrunk covariances are not implemented; leave shrinkage and ledoit_wolf out"
    return "second derivatives with respect to a function's parameter are not implemented"


def last_derivative(parameter: Tensor | None, method: SpectralMethod) -> Tensor | None:
    """``parameter`` for a derivative whose own derivative with respect to it is an error."""
    return None if parameter is None else refusing(parameter, refusal(method))


class _Last(BothModes):
    """A derivative that has none of its own; the method is its last argument."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what to say."""
        ctx.refusal = refusal(inputs[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        """Raise DerivativeError."""
        raise DerivativeError(ctx.refusal)

    tangent = backward


class ParameterSlope(_Last):
    """<G, dZ/dparameter> = sum_i A_ii df(lam_i)/dparameter with A = U^H sym(G) U, the null space included.

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
        with without_autocast(U):
            weights = method.at(parameter).parameter_weights(eigenvalues, U.shape[-2], positions)
            G, unit = narrowed(grad, U.dtype)
            A = (U.conj() * (G @ U)).sum(-2)  # the diagonal of U^H G U
            slopes = weighted_trace(weights, A, G)  # f' may be beyond float32
            of_samples = (slopes[:, None, None] * unit).squeeze(-1)  # (B, 1)
            slope = of_samples if parameter.shape == of_samples.shape else of_samples.sum()
        return slope.to(parameter).reshape(parameter.shape)


class ParameterTangent(_Last):
    """dZ/dparameter times a change of the parameter: U diag(df(lam_i)/dparameter) U^H, the null space included."""

    @staticmethod
    def forward(
        moved: Tensor, U: Tensor, eigenvalues: Tensor, parameter: Tensor, positions: int, method: SpectralMethod
    ) -> Tensor:
        """(B, C, C) in the dtype of U; the arguments are those of `ParameterSlope`."""
        with without_autocast(U):
            weights = method.at(parameter).parameter_weights(eigenvalues, U.shape[-2], positions)
            change = moved if moved.shape == weights[..., -1:].shape else moved.reshape(())
            weights = (weights * change).to(real_of(U.dtype))
            null = weights[..., -1:]
            Z = (U * (weights[..., :-1] - null).unsqueeze(-2)) @ U.mH
            return Z + eye_like(Z) * null.unsqueeze(-1)
