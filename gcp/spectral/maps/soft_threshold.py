"""The soft threshold, which is the nuclear norm's proximal map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gcp.errors import OptionError
from gcp.options import check_type
from gcp.spectral.maps.base import SpectralMap


@dataclass(frozen=True)
class SoftThreshold(SpectralMap):
    """f(s) = max(s - threshold, 0) for s >= 0.

    Args:
        threshold: at least 0, finite, in the units of s.

    Raises:
        OptionError: a threshold out of range.

    >>> SoftThreshold(1.0).value(torch.tensor([3.0, 0.5]))
    tensor([2., 0.])
    """

    threshold: float

    name = "soft_threshold"
    nonnegative: ClassVar[bool] = True  # type: ignore[misc]  # a constant of this class
    at_zero = 0.0

    def __post_init__(self) -> None:
        check_type("threshold", self.threshold, float)
        if not (self.threshold >= 0 and math.isfinite(self.threshold)):
            raise OptionError(f"threshold must be at least 0 and finite, got {self.threshold}")

    def value(self, eigenvalues: Tensor) -> Tensor:
        """max(s - threshold, 0)."""
        return (eigenvalues - self.threshold).clamp(min=0)

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """1 above the threshold, 0 up to it."""
        return (eigenvalues > self.threshold).to(eigenvalues.dtype)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """1 above the threshold, 0 below, the quotient across it."""
        smaller, larger = torch.minimum(a, b), torch.maximum(a, b)
        across = (larger > self.threshold) & (smaller < self.threshold)
        quotient = (larger - self.threshold) / torch.where(across, larger - smaller, 1)
        return torch.where(across, quotient, self.derivative(larger))
