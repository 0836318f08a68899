"""MTP: the square root of a matrix by the Taylor polynomial of the scalar square root."""

from __future__ import annotations

import torch
from torch import Tensor


def taylor(A: Tensor, degree: int, inverse: bool) -> Tensor:
    """The Taylor polynomial of sqrt(x) or 1/sqrt(x) at x = 1, of a matrix (arXiv 2201.08663, 2201.12543).

    Null eigenvalues come out as the polynomial's value at 0, about 1/sqrt(pi degree) for the square root, 0.18 for
    degree 10, times the norm's root; that is also the largest error on [0, 1].

    Args:
        A: (..., n, n), symmetric, eigenvalues in [0, 1].
        degree: at least 1, 10 as published.
        inverse: the inverse square root.
    """
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    Z = eye - A
    weights = coefficients(degree, inverse)
    result = weights[-1] * Z + weights[-2] * eye
    for weight in reversed(weights[:-2]):
        result = result @ Z + weight * eye
    return result


def coefficients(degree: int, inverse: bool) -> list[float]:
    """Of (1 - z)^(1/2) or (1 - z)^(-1/2) in powers of z, constant first: (-1)^k binomial(alpha, k)."""
    alpha = -0.5 if inverse else 0.5
    weights = [1.0]
    for k in range(degree):
        weights.append(weights[-1] * (k - alpha) / (k + 1))
    return weights
