"""Functions with a closed form: the square root, which covariance pooling is about; its inverse, which whitens; the
logarithm, the log-Euclidean view of covariances; and the decaying exponential, the heat kernel of a Laplacian.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from gcp.spectral.maps.base import RegularisedMap, SpectralMap


@dataclass(frozen=True)
class SquareRoot(RegularisedMap):
    """f(lam) = sqrt(lam)."""

    name = "sqrt"
    at_zero = 0.0
    pure_degree = 0.5

    def value(self, eigenvalues: Tensor) -> Tensor:
        """sqrt(lam)."""
        return eigenvalues.sqrt()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """1/(2 sqrt(lam)); infinite at 0."""
        return 0.5 / eigenvalues.sqrt()

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """1/(sqrt(a) + sqrt(b)); infinite where both are 0."""
        return 1 / (a.sqrt() + b.sqrt())

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """-1/(4 lam sqrt(lam)); infinite at 0."""
        return -0.25 / (eigenvalues * eigenvalues.sqrt())

    def second_divided_difference(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """-f[a, b] f[b, c] f[a, c]."""
        first = self.divided_difference
        return -first(a, b) * first(b, c) * first(a, c)

    def second_product(self, eigenvalues: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """The weight is a product of three, one for each pair: a product of matrices."""
        L = _finite(self.divided_difference(eigenvalues.unsqueeze(-1), eigenvalues.unsqueeze(-2)))
        return -L * ((L * A) @ (L * B))


@dataclass(frozen=True)
class InverseSquareRoot(RegularisedMap):
    """f(lam) = 1/sqrt(lam); without eps only for matrices of full rank."""

    name = "inverse_sqrt"
    at_zero = inf
    pure_degree = -0.5

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

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """3/(4 lam^2 sqrt(lam))."""
        return 0.75 / (eigenvalues**2 * eigenvalues.sqrt())

    def second_divided_difference(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """(x + y + z)/(x y z (x + y) (y + z) (x + z)) of the roots x, y, z."""
        x, y, z = a.sqrt(), b.sqrt(), c.sqrt()
        return (x + y + z) / (x * y * z * (x + y) * (y + z) * (x + z))

    def second_product(self, eigenvalues: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Two products of matrices: x + z stands before the sum over y, and y in it."""
        roots = eigenvalues.sqrt()
        x, z = roots.unsqueeze(-1), roots.unsqueeze(-2)
        L = _finite(1 / (x + z))
        left, right = L * A, L * B
        return _finite(L / (x * z)) * ((x + z) * ((left / z) @ right) + left @ right)


@dataclass(frozen=True)
class Log(RegularisedMap):
    """f(lam) = log(lam); without eps only for matrices of full rank."""

    name = "log"
    at_zero = -inf

    def value(self, eigenvalues: Tensor) -> Tensor:
        """log(lam)."""
        return eigenvalues.log()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """1/lam."""
        return 1 / eigenvalues

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """log1p(h)/h/smaller with h = (larger - smaller)/smaller."""
        smaller = torch.minimum(a, b)
        h = (a - b).abs() / smaller
        return torch.where(h == 0, 1, h.log1p() / h) / smaller

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """-1/lam^2."""
        return -1 / eigenvalues**2


@dataclass(frozen=True)
class ExpNeg(SpectralMap):
    """f(lam) = exp(-lam), for any symmetric matrix; smooth everywhere, so it takes no eps."""

    name = "exp_neg"
    at_zero = 1.0

    @property
    def singular_at_zero(self) -> bool:
        """Not at all."""
        return False

    def value(self, eigenvalues: Tensor) -> Tensor:
        """exp(-lam)."""
        return (-eigenvalues).exp()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """-exp(-lam)."""
        return -(-eigenvalues).exp()

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """exp(-smaller) expm1(-h)/h with h = larger - smaller; the larger of the two values stands in front."""
        h = (a - b).abs()
        return (-torch.minimum(a, b)).exp() * torch.where(h == 0, -1, torch.expm1(-h) / h)

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """exp(-lam)."""
        return (-eigenvalues).exp()


def _finite(weights: Tensor) -> Tensor:
    """``weights``, 0 where they are infinite: between null eigenvalues."""
    return torch.where(weights.isfinite(), weights, 0)
