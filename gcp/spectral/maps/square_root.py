"""The square root, which covariance pooling is about."""

from dataclasses import dataclass

from torch import Tensor

from gcp.spectral.maps.base import MAPS, RegularisedMap


@dataclass(frozen=True)
class SquareRoot(RegularisedMap):
    """f(lam) = sqrt(lam)."""

    name = "sqrt"
    twice_differentiable = True

    @property
    def at_zero(self) -> float:
        """0."""
        return 0.0

    @property
    def pure_degree(self) -> float:
        """1/2."""
        return 0.5

    def value(self, eigenvalues: Tensor) -> Tensor:
        """sqrt(lam)."""
        return eigenvalues.sqrt()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """1/(2 sqrt(lam)); infinite at 0."""
        return 0.5 / eigenvalues.sqrt()

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """1/(sqrt(a) + sqrt(b)); infinite where both are 0."""
        return 1 / (a.sqrt() + b.sqrt())


MAPS.register(SquareRoot.name, SquareRoot)
