"""What every kernel starts from and returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.spectral.maps import SpectralMap


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a batch of covariances, as a kernel sees them.

    Attributes:
        eigenvalues: (..., n), descending, null ones exactly 0; the last one is 0 and stands for the null space.
        tied: (..., n, n) bool, pairs of eigenvalues that cannot be told apart; the diagonal is tied.
        function: the map f applied to the eigenvalues.
        channels: C, the size of the covariances.
    """

    eigenvalues: Tensor
    tied: Tensor
    function: SpectralMap
    channels: int

    @property
    def rows(self) -> Tensor:
        """lam_i as (..., n, 1)."""
        return self.eigenvalues.unsqueeze(-1)

    @property
    def columns(self) -> Tensor:
        """lam_j as (..., 1, n)."""
        return self.eigenvalues.unsqueeze(-2)

    @property
    def larger(self) -> Tensor:
        """max(lam_i, lam_j), (..., n, n)."""
        return torch.maximum(self.rows, self.columns)

    @property
    def gap(self) -> Tensor:
        """lam_i - lam_j, (..., n, n)."""
        return self.rows - self.columns

    def ratio_power(self, exponent: int) -> Tensor:
        """x^exponent with x = min/max of each pair, (..., n, n); precise for x near 1, NaN where both are 0."""
        return (exponent * torch.log1p(-self.gap.abs() / self.larger)).exp()

    def divided_differences(self) -> Tensor:
        """f[lam_i, lam_j] without cancellation, (..., n, n)."""
        return self.function.divided_difference(self.rows, self.columns)

    def value_gap(self) -> Tensor:
        """f(lam_i) - f(lam_j), (..., n, n)."""
        value = self.function.value(self.eigenvalues)
        return value.unsqueeze(-1) - value.unsqueeze(-2)

    def settle(self, matrix: Tensor) -> Tensor:
        """``matrix`` with the limits where a quotient has none: f'(lam) between ties, 0 between null eigenvalues.

        Ties share one eigenspace, whose basis the decomposition chose at will; a constant L on it keeps the gradient
        independent of that choice.
        """
        limit = self.function.derivative((self.rows + self.columns) / 2)
        matrix = torch.where(self.tied, limit, matrix)
        return torch.where(self.larger == 0, 0, matrix)


@dataclass(frozen=True)
class Loewner:
    """A method's kernel.

    Attributes:
        matrix: L, (..., n, n), symmetric; its last column is L(lam_i, 0).
        trace: (..., n) weights t with which c = sum_i t_i A_ii multiplies the identity in dL/dP, or none.
    """

    matrix: Tensor
    trace: Tensor | None = None
