"""A user's own function, with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.errors import OptionError
from gcp.spectral.maps.base import RegularisedMap

_NODE = 0.6**0.5  # Gauss-Legendre rule of three points on [-1, 1], exact for polynomials of degree 5
_OUTER, _INNER = 5 / 18, 8 / 18


@dataclass(frozen=True)
class Custom(RegularisedMap):
    """f and f' as callables that map tensors elementwise.

    Args:
        function: f.
        slope: f'; may be infinite at 0, nowhere else.
        nonnegative: f lives on lam >= 0 only; rounding below 0 then counts as 0 and real negative eigenvalues are
            refused. Otherwise any symmetric matrix is accepted.
        eps, relative: see `RegularisedMap`.
    """

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    nonnegative: bool = False

    name = "custom"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps > 0 and not self.nonnegative:
            raise OptionError("eps moves eigenvalues away from 0, for functions of lam >= 0; set nonnegative=True")

    @property
    def at_zero(self) -> float:
        """f(0) as the callable gives it."""
        return float(self.function(torch.zeros(1, dtype=torch.float64)))

    def value(self, eigenvalues: Tensor) -> Tensor:
        """f(lam)."""
        return self.function(eigenvalues)

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """f'(lam)."""
        return self.slope(eigenvalues)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """The quotient; between close eigenvalues the mean of f' over [a, b] by three Gauss points around the middle.

        The quotient loses eps/gap to cancellation, the rule errs by gap^6 f^(7)/2e6 (gap relative to the larger):
        at eps^(1/5), where they are exchanged, both are far below what the midpoint alone would leave.
        """
        gap = a - b
        close = gap.abs() <= torch.finfo(gap.dtype).eps ** 0.2 * torch.maximum(a.abs(), b.abs())
        middle, half = (a + b) / 2, gap / 2
        # A slope that is infinite at 0 is asked there only by pairs that are not close.
        mean = _INNER * self.slope(middle) + _OUTER * (
            self.slope(middle - _NODE * half) + self.slope(middle + _NODE * half)
        )
        return torch.where(close, mean, (self.function(a) - self.function(b)) / torch.where(close, 1, gap))
