"""Scalar maps f that act on eigenvalues: value, derivative and divided difference."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class SpectralMap(Protocol):
    """A scalar function of eigenvalues >= 0 with f(0) = 0."""

    def value(self, eigenvalues: Tensor) -> Tensor:
        """f(lam), elementwise."""

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """f'(lam), elementwise."""

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """(f(a) - f(b))/(a - b) without cancellation, broadcast; f'(a) where a = b."""


class SquareRoot:
    """f(lam) = sqrt(lam)."""

    def value(self, eigenvalues: Tensor) -> Tensor:
        """sqrt(lam)."""
        return eigenvalues.sqrt()

    def derivative(self, eigenvalues: Tensor) -> Tensor:
        """1/(2 sqrt(lam)); infinite at 0."""
        return 0.5 / eigenvalues.sqrt()

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """1/(sqrt(a) + sqrt(b)); infinite where both are 0."""
        return 1 / (a.sqrt() + b.sqrt())
