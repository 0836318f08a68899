"""The inverse square root, which whitens."""

from dataclasses import dataclass
from math import inf

from torch import Tensor

from gcp.spectral.maps.base import MAPS, RegularisedMap


@dataclass(frozen=True)
class InverseSquareRoot(RegularisedMap):
    """f(lam) = 1/sqrt(lam); without eps only for matrices of full rank."""

    name = "inverse_sqrt"

    @property
    def at_zero(self) -> float:
        """Infinite."""
        return inf

    @property
    def pure_degree(self) -> float:
        """-1/2."""
        return -0.5

    def value(self, eigenvalues: Tensor) -> Tensor:
        """1/sqrt(lam)."""
        return eigenvalues.rsqrt()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """-1/(2 lam sqrt(lam))."""
        return -0.5 / (eigenvalues * eigenvalues.sqrt())

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """-1/(sqrt(a) sqrt(b) (sqrt(a) + sqrt(b)))."""
        root_a, root_b = a.sqrt(), b.sqrt()
        return -1 / (root_a * root_b * (root_a + root_b))


MAPS.register(InverseSquareRoot.name, InverseSquareRoot)
