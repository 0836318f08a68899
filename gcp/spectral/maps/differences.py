"""Divided differences f[a, b] and f[a, b, c] of any map, without cancellation; the weights of derivatives of f(P)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import sqrt

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]
Rule = tuple[tuple[float, float], ...]


def _on_unit_interval(pairs: dict[float, float], middle: float = 0.0) -> Rule:
    """Nodes in [0, 1] and weights of sum 1, of a symmetric rule on [-1, 1]; ``middle`` is the weight of 0, if any."""
    rule = [((1 + sign * node) / 2, weight / 2) for node, weight in pairs.items() for sign in (-1, 1)]
    return (*rule, (0.5, middle / 2)) if middle else tuple(rule)


# Gauss-Legendre rules, of which one point more gains two powers of the gap
FOUR = _on_unit_interval(
    {
        sqrt(3 / 7 - 2 / 7 * sqrt(6 / 5)): (18 + sqrt(30)) / 36,
        sqrt(3 / 7 + 2 / 7 * sqrt(6 / 5)): (18 - sqrt(30)) / 36,
    }
)
FIVE = _on_unit_interval(
    {
        sqrt(5 - 2 * sqrt(10 / 7)) / 3: (322 + 13 * sqrt(70)) / 900,
        sqrt(5 + 2 * sqrt(10 / 7)) / 3: (322 - 13 * sqrt(70)) / 900,
    },
    middle=128 / 225,
)


def first_difference(value: Elementwise, slope: Elementwise, a: Tensor, b: Tensor) -> Tensor:
    """(f(a) - f(b))/(a - b), or between close numbers what it cancels to, the mean of f' over [a, b]; broadcast.

    Which of the two is decided by their error estimates, so that no scale of f need be known.

    >>> a = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> first_difference(torch.exp, torch.exp, a, a * (1 + 1e-9)) / a.exp()
    tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    gap = a - b
    upper, lower = value(a), value(b)
    # A slope that is infinite at 0 is asked there by nobody but 0 and 0.
    means = [_interval(slope, b, gap, rule) for rule in (FIVE, FOUR)]
    return _better(upper, lower, gap, means, orders=10 / 8)


def second_difference(
    divided_difference: Callable[[Tensor, Tensor], Tensor], curvature: Elementwise, a: Tensor, b: Tensor, c: Tensor
) -> Tensor:
    """f[a, b, c], broadcast, to about 1e-13 wherever the three numbers lie; f''(a)/2 where they are equal.

    Of three numbers in order, (f[a, b] - f[b, c])/(a - c) loses the digits that its two parts have in common: all of
    them where the outer gap is 0. There f[a, b, c] is the integral of f'' over the triangle of the weighted means of
    the three (Hermite-Genocchi).

    Args:
        divided_difference: f[a, b], without cancellation.
        curvature: f''.
        a, b, c: numbers in any order.

    >>> a, b, c = (torch.tensor(x, dtype=torch.float64) for x in (3.0, 2.0, 2.0))
    >>> of_cube = second_difference(lambda a, b: a**2 + a * b + b**2, lambda a: 6 * a, a, b, c)
    >>> of_cube.round(decimals=6)  # a + b + c
    tensor(7., dtype=torch.float64)
    """
    high, low = torch.maximum(torch.maximum(a, b), c), torch.minimum(torch.minimum(a, b), c)
    middle = torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))
    means = [_triangle(curvature, high, middle, low, rule) for rule in (FIVE, FOUR)]
    return _better(divided_difference(high, middle), divided_difference(middle, low), high - low, means, orders=9 / 7)


def second_product(
    weights: Callable[[Tensor, Tensor, Tensor], Tensor], eigenvalues: Tensor, A: Tensor, B: Tensor
) -> Tensor:
    """M_ij = sum_k f[i, k, j] A_ik B_kj, a few k at a time, so that nothing n x n x n is ever held.

    Args:
        weights: f[a, b, c], broadcast; where it is not finite it counts as 0.
        eigenvalues: (..., n).
        A, B: (..., n, n).
    """
    n = eigenvalues.shape[-1]
    rows, columns = eigenvalues[..., :, None, None], eigenvalues[..., None, None, :]
    total = torch.zeros_like(A)
    at_once = max(1, 2**16 // n**2)  # of the size alone: neighbours in the batch must not change the order of sums
    for start in range(0, n, at_once):
        some = slice(start, start + at_once)
        f = weights(rows, eigenvalues[..., None, some, None], columns)
        f = torch.where(f.isfinite(), f, 0)
        total = total + (f * A[..., :, some, None] * B[..., None, some, :]).sum(-2)
    return total


def _interval(slope: Elementwise, start: Tensor, length: Tensor, rule: Rule) -> Tensor:
    """The mean of f' over an interval."""
    total = torch.zeros_like(start + length)
    for node, weight in rule:
        total = total + weight * slope(start + node * length)
    return total


def _triangle(curvature: Elementwise, high: Tensor, middle: Tensor, low: Tensor, rule: Rule) -> Tensor:
    """The integral of f'' over the triangle: from ``low`` a share u of the way to the side between the others."""
    total = torch.zeros_like(high)
    for (u, weight), (v, other) in product(rule, rule):
        total = total + (u * weight * other) * curvature(low + u * ((middle - low) + v * (high - middle)))
    return total


def _better(upper: Tensor, lower: Tensor, gap: Tensor, means: list[Tensor], orders: float) -> Tensor:
    """(upper - lower)/gap, or the first of two means by rules of rising ``orders`` where that one errs less."""
    limits = torch.finfo(gap.dtype)
    mean, coarser = means
    lost = 4 * limits.eps * (upper.abs() + lower.abs()) / gap.abs()
    change = (mean - coarser).abs()
    missed = change * (change / mean.abs().clamp(min=limits.tiny)) ** (orders - 1)
    take_mean = (gap == 0) | (lost.isfinite() & (missed <= lost))
    return torch.where(take_mean, mean, (upper - lower) / torch.where(take_mean, 1, gap))
