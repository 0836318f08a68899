"""A spectral method, ready to be applied."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcp.errors import DerivativeError, PluginError
from gcp.spectral.loewner import Loewner, Spectrum, shifted, spectrum
from gcp.spectral.maps import SpectralMap
from gcp.spectral.maps.shifted import Shifted
from gcp.spectral.spectral_options import SpectralOptions

SECOND, FORWARD = "second derivatives", "derivatives in forward mode"


@dataclass(frozen=True)
class SpectralMethod:
    """A method ready to be applied: its kernel, its options and the map f.

    ``exact``: the kernel is the divided differences of f. ``of_matrix``: applied to a matrix, not to features, so that
    eigenvalues are what the decomposition resolves even in float32.
    """

    kernel: Callable[[Spectrum, Any], Tensor | tuple[Tensor, Tensor | None]]
    keep: Callable[[Spectrum, Any], Tensor] | None
    options: SpectralOptions
    function: SpectralMap
    exact: bool = False
    of_matrix: bool = False
    name: str = ""

    @property
    def twice_differentiable(self) -> bool:
        """Whether the gradient's own gradient is known: of the exact kernel, and a map that has a second derivative."""
        return self.exact and self.keep is None and self.function.twice_differentiable

    def require_exact(self, what: str) -> None:
        """Raise DerivativeError for ``what`` unless the kernel is the divided differences of f."""
        if not self.exact or self.keep is not None:
            raise DerivativeError(
                f"method '{self.name}' has no {what}: its gradient is no exact derivative, or loses digits between "
                "close eigenvalues, and more of them if derived again; use method 'lyapunov', or only the gradient"
            )

    def require_twice_differentiable(self) -> None:
        """Raise DerivativeError unless `twice_differentiable`, with the reason."""
        self.require_exact(SECOND)
        if not self.function.twice_differentiable:
            raise DerivativeError(
                f"second derivatives of {self.function.name} need f'', which autograd does not find through its "
                "derivative; give it as a third callable, (f, f', f'')"
            )

    @property
    def working(self) -> torch.dtype:
        """What is decomposed in, and what the kernel is computed in."""
        return torch.float32 if self.options.precision == "float32" else torch.float64

    @property
    def degree(self) -> float | Tensor | None:
        """d of f(c P) = c^d f(P), in value and gradient, or None where f or the kernel does not scale so."""
        return self.function.degree if self.options.scale_free else None

    @property
    def parameter(self) -> Tensor | None:
        """A copy of the map's parameter, or None: an optimiser may step between forward and backward."""
        parameter = self.function.parameter
        return None if parameter is None else parameter.clone()

    def at(self, parameter: Tensor | None) -> SpectralMethod:
        """This method with that value of its map's parameter; without one, as it is."""
        if parameter is None:
            return self
        return dataclasses.replace(self, function=self.function.with_parameter(parameter))

    def spectrum(self, eigenvalues: Tensor, channels: int, positions: int) -> Spectrum:
        """What kernels see of the eigenvalues (B, n)."""
        squared = self.of_matrix or self.options.precision != "float32"
        return spectrum(eigenvalues, channels, positions, self.function, squared)

    def values(self, eigenvalues: Tensor, channels: int, positions: int) -> Tensor:
        """f(lam), of eigenvalues the method drops f(null); (B, n + 1) for eigenvalues (B, n), the null space last."""
        values = self.function.value(shifted(eigenvalues, channels, self.function))
        if self.keep is None:
            return values
        kept = self.keep(self.spectrum(eigenvalues, channels, positions), self.options)
        return torch.where(kept, values, values[..., -1:])

    def loewner(self, eigenvalues: Tensor, channels: int, positions: int) -> Loewner:
        """The kernel, with the gradient through the trace that a relative shift is made of."""
        spectrum = self.spectrum(eigenvalues, channels, positions)
        kernel = as_loewner(self.kernel(spectrum, self.options), spectrum)
        if self.function.eps == 0 or not self.function.relative:
            return kernel
        return kernel.with_shift(self._slopes(kernel, spectrum), self.function.eps, channels)

    def parameter_weights(self, eigenvalues: Tensor, channels: int, positions: int) -> Tensor:
        """w of dℓ/dparameter = sum_i w_i A_ii, A = U^T sym(G) U: (B, n + 1), the null space last."""
        spectrum = self.spectrum(eigenvalues, channels, positions)
        if isinstance(self.function, Shifted):  # the trace of dℓ/dM, of the method's own dℓ/dM
            kernel = as_loewner(self.kernel(spectrum, self.options), spectrum)
            slopes = self._slopes(kernel, spectrum)
            return self.function.gain * (slopes if kernel.trace is None else slopes + channels * kernel.trace)
        weights = self.function.parameter_derivative(spectrum.eigenvalues)
        if self.keep is None:
            return weights
        return torch.where(self.keep(spectrum, self.options), weights, weights[..., -1:])

    def _slopes(self, kernel: Loewner, spectrum: Spectrum) -> Tensor:
        """What f gains where all eigenvalues move by 1: L_ii, (..., n)."""
        slopes = kernel.matrix.diagonal(dim1=-2, dim2=-1)
        if self.keep is None:
            return slopes
        # What is dropped is f(shift): it has no gradient of its own, but the shift has one.
        at_null = self.function.derivative(spectrum.null)
        return torch.where(self.keep(spectrum, self.options), slopes, torch.where(at_null.isfinite(), at_null, 0))


def as_loewner(result: Any, spectrum: Spectrum) -> Loewner:
    """What a method's kernel returned, L or L and trace weights. Raises PluginError for anything else."""
    L, trace = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    n = spectrum.eigenvalues.shape[-1]
    fits = isinstance(L, Tensor) and L.shape[-2:] == (n, n)
    if not fits or not (trace is None or (isinstance(trace, Tensor) and trace.shape == L.shape[:-1])):
        parts = (L,) if trace is None else (L, trace)
        shapes = [str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        raise PluginError(
            f"a method's kernel must return a matrix (..., {n}, {n}) for {n} eigenvalues, or that and the weights of "
            f"the trace (..., {n}), got {' and '.join(shapes)}"
        )
    return Loewner(L, trace)
