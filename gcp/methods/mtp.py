"""MTP: the square root of a matrix by the Taylor polynomial of the scalar square root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.table import RootOptions, register_method
from gcp.options import option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MTPOptions(RootOptions):
    """Options of `mtp`."""

    degree: int = option(10, "degree of the Taylor polynomial", minimum=1, maximum=10_000)


def mtp(A: Tensor, degree: int, inverse: bool) -> Tensor:
    """The Taylor polynomial of sqrt(x) or 1/sqrt(x) at x = 1, of a matrix (arXiv 2201.08663, 2201.12543).

    Null eigenvalues come out as the polynomial's value at 0, about 1/sqrt(pi degree) for the square root, 0.18 for
    degree 10, times the norm's root; that is also the largest error on [0, 1].

    Args:
        A: (..., n, n), symmetric, eigenvalues in [0, 1].
        degree: at least 1, 10 as published.
        inverse: the inverse square root.

    >>> import torch
    >>> mtp(torch.tensor([[0.25]]), degree=8, inverse=False).round(decimals=2)
    tensor([[0.5000]])
    """
    from gcp.features import eye_like

    eye = eye_like(A)
    Z = eye - A
    weights = coefficients(degree, inverse)
    result = weights[-1] * Z + weights[-2] * eye
    for weight in reversed(weights[:-2]):
        result = result @ Z + weight * eye
    return result


def coefficients(degree: int, inverse: bool) -> list[float]:
    """Of (1 - z)^(1/2) or (1 - z)^(-1/2) in powers of z, constant first: (-1)^k binomial(alpha, k).

    >>> coefficients(2, inverse=False)
    [1.0, -0.5, -0.125]
    """
    alpha = -0.5 if inverse else 0.5
    weights = [1.0]
    for k in range(degree):
        weights.append(weights[-1] * (k - alpha) / (k + 1))
    return weights


register_method(
    "mtp",
    options=MTPOptions,
    layer="gcp.pooling.approximant:ApproximantPooling",
    approximant=mtp,
    summary="the root by a matrix Taylor polynomial, gradient by the Lyapunov equation",
    source="Song et al., ICLR 2022 (arXiv 2201.08663); TPAMI 2022 (arXiv 2201.12543)",
)
