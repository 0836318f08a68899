"""The decaying exponential: the heat kernel of a Laplacian, the affinity of a distance."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.spectral.maps.base import MAPS, SpectralMap


@dataclass(frozen=True)
class ExpNeg(SpectralMap):
    """f(lam) = exp(-lam), for any symmetric matrix; smooth everywhere, so it takes no eps."""

    name = "exp_neg"

    @property
    def at_zero(self) -> float:
        """1."""
        return 1.0

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


MAPS.register(ExpNeg.name, ExpNeg)
