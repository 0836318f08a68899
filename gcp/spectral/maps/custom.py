"""A user's own function, with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gcp.errors import OptionError
from gcp.spectral.maps.base import RegularisedMap
from gcp.spectral.maps.differences import first_difference


@dataclass(frozen=True)
class Custom(RegularisedMap):
    """f and f' as callables that map tensors elementwise.

    Args:
        function: f.
        slope: f'; may be infinite at 0, nowhere else.
        nonnegative: f lives on lam >= 0 only; rounding below 0 then counts as 0 and real negative eigenvalues are
            refused. Otherwise any symmetric matrix is accepted.
        curvature: f'', for second derivatives; None: by autograd of ``slope``.
        eps, relative: see `RegularisedMap`.
    """

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    nonnegative: bool = False
    curvature: Callable[[Tensor], Tensor] | None = None

    name = "custom"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps > 0 and not self.nonnegative:
            raise OptionError("eps moves eigenvalues away from 0, for functions of lam >= 0; set nonnegative=True")

    @cached_property
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
        """The quotient; between close eigenvalues the mean of f' over [a, b]."""
        return first_difference(self.function, self.slope, a, b)

    def second_derivative(self, eigenvalues: Tensor) -> Tensor:
        """f''(lam)."""
        if self.curvature is not None:
            return self.curvature(eigenvalues)
        pull_back = torch.func.vjp(self.slope, eigenvalues)[1]
        curvature: Tensor = pull_back(torch.ones_like(eigenvalues))[0]
        return curvature

    @property
    def twice_differentiable(self) -> bool:
        """Whether f'' is given, or autograd of f' agrees with differences of f': where f' leaves torch, it finds 0."""
        if self.curvature is not None:
            return True
        points = torch.tensor([0.3, 0.7, 1.3, 2.9], dtype=torch.float64)
        try:
            found = self.second_derivative(points)
        except RuntimeError:  # torch's, of operations it cannot differentiate
            return False
        step = 1e-5
        expected = (self.slope(points + step) - self.slope(points - step)) / (2 * step)
        return bool(torch.allclose(found, expected, rtol=1e-4, atol=1e-6, equal_nan=True))
