"""MPA: the square root of a matrix by the diagonal Pade approximant of the scalar square root."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from gcp.methods.table import RootOptions, register_method
from gcp.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MPAOptions(RootOptions):
    """Options of `mpa`."""

    degree: int = option(
        5, "degree of numerator and denominator, whose condition grows as 4^degree", minimum=1, maximum=10
    )


def mpa(A: Tensor, degree: int, inverse: bool) -> Tensor:
    """r(A) or 1/r(A), r the [degree/degree] Pade approximant of sqrt(x) at x = 1 (arXiv 2201.08663, 2201.12543).

    In closed form r = p/q with (1 + sqrt(x))^m = p(x) + sqrt(x) q(x), m = 2 degree + 1: binomial coefficients, none of
    them negative, so that nothing cancels. |r(x) - sqrt(x)| is largest at 0, where r = 1/m: null eigenvalues come out
    as that times the norm's root. The approximant of the inverse square root is 1/r.

    Args:
        A: (..., n, n), symmetric, eigenvalues in [0, 1].
        degree: at least 1, 5 as published.
        inverse: the inverse square root.

    >>> import torch
    >>> mpa(torch.tensor([[0.25]]), degree=8, inverse=False).round(decimals=2)
    tensor([[0.5000]])
    """
    import torch

    from gcp.features import eye_like

    p, q = coefficients(degree)
    if inverse:
        p, q = q, p
    numerator = p[0] * eye_like(A)
    denominator = q[0] * eye_like(A)
    power = A
    for exponent in range(1, degree + 1):
        numerator = numerator + p[exponent] * power
        denominator = denominator + q[exponent] * power
        if exponent < degree:
            power = power @ A
    if torch.compiler.is_exporting():
        return _quotient_by_products(numerator, denominator, 1 / q[0])
    factor, _ = torch.linalg.cholesky_ex(denominator)  # q >= q(0) > 0: always definite, and NaN stays in its sample
    return torch.cholesky_solve(numerator, factor)


def coefficients(degree: int) -> tuple[list[float], list[float]]:
    """Of p and q, constant first, scaled to p(1) = q(1) = 1.

    >>> coefficients(1)  # sqrt(x) is about (1 + 3 x)/(3 + x)
    ([0.25, 0.75], [0.75, 0.25])
    """
    m = 2 * degree + 1
    total = 2 ** (m - 1)
    even = [comb(m, 2 * j) / total for j in range(degree + 1)]
    odd = [comb(m, 2 * j + 1) / total for j in range(degree + 1)]
    return even, odd


def _quotient_by_products(numerator: Tensor, denominator: Tensor, condition: float) -> Tensor:
    """numerator/denominator for formats that know products only: Newton's iteration for the inverse, from I.

    Eigenvalues of the denominator lie in [1/condition, 1], so 1 - eigenvalue squares away from at most 1 - 1/condition.
    """
    from gcp.features import eye_like

    result = eye_like(denominator).expand_as(denominator)
    two = 2 * eye_like(denominator)
    remainder = 1 - 1 / condition
    while remainder > 1e-17:
        result = result @ (two - denominator @ result)
        remainder = remainder**2
    return result @ numerator


register_method(
    "mpa",
    options=MPAOptions,
    layer="gcp.pooling.approximant:ApproximantPooling",
    approximant=mpa,
    summary="the root by a matrix Pade approximant, gradient by the Lyapunov equation",
    source="Song et al., ICLR 2022 (arXiv 2201.08663); TPAMI 2022 (arXiv 2201.12543)",
)
