"""Any map of eigenvalues that a number for each sample is added to first: f(P + s I)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from gcp.spectral.maps.base import SpectralMap


@dataclass(frozen=True, eq=False)
class Shifted(SpectralMap):
    """f(lam + s), s of each sample its own; what f adds by itself, in units of the mean or not, comes on top.

    What s is made of is differentiated outside: s is the parameter, and dℓ/ds the trace of dℓ/dM, M = P + s I.

    Args:
        inner: f, without a parameter of its own.
        amount: s, (B, 1), at least 0.
    """

    inner: SpectralMap
    amount: Tensor

    name = "shifted"
    vanishes_at_zero = False
    shifts = True

    def __post_init__(self) -> None:
        for attribute in ("name", "nonnegative", "eps", "relative"):
            object.__setattr__(self, attribute, getattr(self.inner, attribute))

    @property
    def at_zero(self) -> float:
        """f(0)."""
        return self.inner.at_zero

    @property
    def parameter(self) -> Tensor:
        """The shift."""
        return self.amount

    @property
    def gain(self) -> float:
        """What all eigenvalues move by where s grows by 1: a relative eps grows with them."""
        return 1 + self.eps if self.relative else 1.0

    def with_parameter(self, parameter: Tensor) -> Shifted:
        """The same map with that shift."""
        return dataclasses.replace(self, amount=parameter)

    def shift(self, eigenvalues: Tensor, channels: int) -> Tensor:
        """The sum of both shifts, (..., 1)."""
        amount = self.gain * self.amount.detach().to(eigenvalues.dtype)
        own = self.inner.shift(eigenvalues, channels)
        return amount if own is None else amount + own

    def value(self, eigenvalues: Tensor) -> Tensor:
        """f(lam), elementwise, of shifted eigenvalues."""
        return self.inner.value(eigenvalues)

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """f'(lam), elementwise."""
        return self.inner.derivative(eigenvalues)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """f[a, b]."""
        return self.inner.divided_difference(a, b)
