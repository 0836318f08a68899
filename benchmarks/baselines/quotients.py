"""K_ij ~ 1/(lam_i - lam_j) of the classical layers: full C x C matrices, both triangles, masks and overflow repair.

Each function maps eigenvalues (B, C), descending, to the antisymmetric K (B, C, C).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def original(eigenvalues: Tensor) -> Tensor:
    """The textbook quotient (arXiv 1703.08050)."""
    return _finish(1 / _gaps(eigenvalues))


def trunc(eigenvalues: Tensor, limit: float = 1e10) -> Tensor:
    """The quotient clipped to +-limit (arXiv 2105.02498)."""
    quotient = 1 / _gaps(eigenvalues)
    quotient[quotient > limit] = limit
    quotient[quotient < -limit] = -limit
    return _finish(quotient)


def taylor(eigenvalues: Tensor, degree: int = 100) -> Tensor:
    """(1/max) sum_{l=0..degree} x^l, one power after the other (arXiv 2104.03821)."""
    ratio = _ratios(eigenvalues)
    power = torch.ones_like(ratio)
    series = power.clone()
    for _ in range(degree):
        power = power * ratio
        series = series + power
    return _finish(series * _signs(eigenvalues) / _larger(eigenvalues))


def pade(eigenvalues: Tensor) -> Tensor:
    """(1/max) P(x)/Q(x) with the coefficients of the [50/50] approximant solved for, by Horner (arXiv 2105.02498)."""
    ratio = _ratios(eigenvalues)
    numerator, denominator = (_horner(coefficients, ratio) for coefficients in pade_coefficients())
    return _finish(numerator / denominator * _signs(eigenvalues) / _larger(eigenvalues))


@cache
def pade_coefficients(order: int = 50) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Coefficients of P and Q, lowest power first, with P - Q/(1 - x) = O(x^(2 order + 1)) and Q(0) = 1.

    1/(1 - x) being rational, the system for Q is singular; its smallest solution is taken, which has no spurious pole.
    """
    series = torch.ones(2 * order + 1, dtype=torch.float64)
    rows = torch.arange(order + 1, 2 * order + 1)
    system = series[rows[:, None] - torch.arange(1, order + 1)]
    tail = torch.linalg.lstsq(system, -series[rows, None], driver="gelsd").solution.flatten()
    denominator = torch.cat([torch.ones(1, dtype=torch.float64), tail])
    numerator = torch.stack([(denominator[: k + 1] * series[: k + 1].flip(0)).sum() for k in range(order + 1)])
    return tuple(numerator.tolist()), tuple(denominator.tolist())


def repair(matrix: Tensor) -> Tensor:
    """``matrix`` without overflow: NaN becomes 0, infinities the largest finite magnitude of the same matrix."""
    finite = matrix.isfinite()
    largest = torch.where(finite, matrix.abs(), 0).amax((-2, -1), keepdim=True)
    matrix = torch.where(matrix == torch.inf, largest, matrix)
    matrix = torch.where(matrix == -torch.inf, -largest, matrix)
    return torch.where(matrix.isnan(), 0, matrix)


def _horner(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _grids(eigenvalues: Tensor) -> tuple[Tensor, Tensor]:
    size = eigenvalues.shape[-1]
    rows = eigenvalues.unsqueeze(-1).repeat(1, 1, size)
    return rows, rows.mT.contiguous()


def _gaps(eigenvalues: Tensor) -> Tensor:
    rows, columns = _grids(eigenvalues)
    return rows - columns


def _ratios(eigenvalues: Tensor) -> Tensor:
    rows, columns = _grids(eigenvalues)
    ratio = columns / rows
    return repair(torch.where(ratio > 1, 1 / ratio, ratio))


def _larger(eigenvalues: Tensor) -> Tensor:
    return torch.maximum(*_grids(eigenvalues))


def _signs(eigenvalues: Tensor) -> Tensor:
    sign = torch.ones_like(_gaps(eigenvalues)).triu(1)
    return sign - sign.mT


def _finish(quotient: Tensor) -> Tensor:
    identity = torch.eye(quotient.shape[-1], dtype=torch.bool, device=quotient.device)
    return repair(quotient.masked_fill(identity, 0))
