"""Approximations of 1/(1 - x), the quotient of eigenvalues at ratio x, and how wrong they are."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor


def taylor_value(x: Tensor, degree: int = 100) -> Tensor:
    """sum of x^l over l = 0 .. degree, in the dtype of ``x``, one power after the other (arXiv 2104.03821).

    >>> taylor_value(torch.tensor(0.5), degree=2)
    tensor(1.7500)
    """
    power, total = torch.ones_like(x), torch.ones_like(x)
    for _ in range(degree):
        power = power * x
        total = total + power
    return total


def taylor_error(x: Fraction, degree: int = 100) -> float:
    """1/(1 - x) minus its Taylor polynomial, x^(degree + 1)/(1 - x), without rounding; 0 <= x < 1.

    >>> taylor_error(Fraction(1, 2), degree=2)
    0.25
    """
    return float(x ** (degree + 1) / (1 - x))


class SolvedPade(NamedTuple):
    """A Pade approximant of 1/(1 - x) whose coefficients were solved for numerically.

    Attributes:
        numerator, denominator: coefficients of P and Q, lowest power first, float64.
    """

    numerator: Tensor
    denominator: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """P(x)/Q(x), float64."""
        powers = x.double().unsqueeze(-1) ** torch.arange(len(self.numerator))
        return (powers @ self.numerator) / (powers @ self.denominator)

    def poles(self, low: float = 0.5, high: float = 1.5) -> Tensor:
        """Real roots of Q between ``low`` and ``high``, ascending: 1, and spurious ones, which cancel with P's."""
        monic = (self.denominator / self.denominator[-1])[:-1]
        companion = torch.diag(torch.ones(len(monic) - 1, dtype=torch.float64), -1)
        companion[:, -1] = -monic
        roots = torch.linalg.eigvals(companion)
        real: Tensor = roots.real[roots.imag.abs() < 1e-9 * roots.abs()]
        values: Tensor = real[(real > low) & (real < high)].sort().values
        return values


def solved_pade(order: int = 50, noise: float = 2**-52, seed: int = 0) -> SolvedPade:
    """The [order/order] approximant as code solves for it that gets Taylor coefficients by numerical differentiation.

    All Taylor coefficients of 1/(1 - x) are 1, so the system for Q is singular, with exact solutions Q = (1 - x) R for
    any R. Coefficients that are 1 but for rounding make it regular, and its solution a matter of the rounding: the
    value at the pole x = 1, and with it every bound derived from it, is arbitrary.

    Args:
        order: degree of P and of Q.
        noise: relative rounding of the coefficients; 2^-52 is that of float64.
        seed: of the rounding.

    >>> round(solved_pade(order=3)(torch.tensor([0.5])).item(), 3)
    2.0
    """
    generator = torch.Generator().manual_seed(seed)
    rounding = noise * (2 * torch.rand(2 * order + 1, generator=generator, dtype=torch.float64) - 1)
    series = 1 + rounding
    rows = torch.arange(order + 1, 2 * order + 1)
    system = series[rows[:, None] - torch.arange(1, order + 1)]
    tail = torch.linalg.solve(system, -series[rows])
    denominator = torch.cat([torch.ones(1, dtype=torch.float64), tail])
    numerator = torch.stack([(denominator[: k + 1] * series[: k + 1].flip(0)).sum() for k in range(order + 1)])
    return SolvedPade(numerator, denominator)
