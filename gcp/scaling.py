"""Units in which numbers, their squares and their products stay within the range of their type."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def safe_unit(magnitude: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A power of two to divide numbers by whose products would leave the type's range; elementwise.

    The one below ``magnitude``, or 1 where that is moderate, 0 or not finite. Dividing by it changes no digit.

    Args:
        magnitude: the size of the numbers, without history.
        dtype: the type whose range counts; None: that of ``magnitude``.

    >>> safe_unit(torch.tensor([3.0, 3e20])).log2()
    tensor([ 0., 68.])
    """
    limit = _largest_exponent(magnitude.dtype)
    moderate = 2.0 ** (_largest_exponent(dtype or magnitude.dtype) // 8)  # fourth powers are well within the range
    extreme = ((magnitude > moderate) | (magnitude < 1 / moderate)) & (magnitude > 0) & magnitude.isfinite()
    return torch.where(extreme, magnitude, 1).log2().floor().clamp(-limit, limit).exp2()


def exact_unit(A: Tensor) -> Tensor:
    """The power of two above the largest entry of ``A`` (..., m, n): (..., 1, 1), real; 1 where that is 0 or infinite.

    Matrices that differ by a power of two are the same number for number in their units, and so is all that is
    computed of them. Without history.

    >>> exact_unit(torch.tensor([[1.0, -3.0]]))
    tensor([[4.]])
    """
    size = largest_entry(A.detach())
    limit = _largest_exponent(size.dtype)
    _, exponent = torch.frexp(size.double())
    exponent = torch.where((size > 0) & size.isfinite(), exponent, 0)
    return exponent.clamp(-limit, limit).double().exp2().to(size.dtype)


def _largest_exponent(dtype: torch.dtype) -> int:
    return math.floor(math.log2(torch.finfo(dtype).max)) - 1


def largest_entry(tensor: Tensor) -> Tensor:
    """max |t| over the last two dimensions, (..., 1, 1).

    >>> largest_entry(torch.tensor([[1.0, -3.0]]))
    tensor([[3.]])
    """
    size: Tensor = torch.linalg.vector_norm(tensor, torch.inf, dim=(-2, -1), keepdim=True)
    return size


def narrowed(gradient: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | float]:
    """``gradient`` (B, C, C) as a product of a tensor in ``dtype``, whose range may be narrower, and (B, 1, 1).

    >>> part, unit = narrowed(torch.full((1, 2, 2), 1e200, dtype=torch.float64), torch.float32)
    >>> bool(part.isfinite().all()), f"{(part.double() * unit)[0, 0, 0].item():.3g}"
    (True, '1e+200')
    """
    if torch.finfo(gradient.dtype).max <= torch.finfo(dtype).max:
        return gradient.to(dtype), 1.0
    unit = safe_unit(largest_entry(gradient), dtype)
    return (gradient / unit).to(dtype), unit


def in_safe_units(
    function: Callable[[Tensor], Tensor],
    flat: Tensor,
    degree: float | Tensor = 1.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """``function(flat)`` of a function that scales with its argument, in units in which products are in range.

    Args:
        function: from (B, C, N) to (B, n, n), with f(s x) = s^degree f(x) for s > 0.
        flat: (B, C, N).
        degree: a number, or a scalar tensor, which gets its gradient.
        dtype: the type the function computes in; None: that of ``flat``.

    >>> in_safe_units(lambda x: x @ x.mT, torch.full((1, 1, 2), 1e-18), degree=2).item() > 0
    True
    """
    unit = safe_unit(largest_entry(flat.detach()), dtype)
    return function(flat / unit) * unit**degree
