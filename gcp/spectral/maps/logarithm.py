"""The logarithm: the log-Euclidean view of covariances."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from gcp.spectral.maps.base import MAPS, RegularisedMap


@dataclass(frozen=True)
class Log(RegularisedMap):
    """f(lam) = log(lam); without eps only for matrices of full rank."""

    name = "log"

    @property
    def at_zero(self) -> float:
        """Minus infinity."""
        return -inf

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


MAPS.register(Log.name, Log)
