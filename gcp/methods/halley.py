"""Gradient of Halley's iteration for the square root and inverse square root, in the eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.newton import mirrored
from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum


@dataclass(frozen=True)
class HalleyOptions(SpectralOptions):
    """Options of `halley`.

    Four steps resolve what ten of `newton` do, eigenvalues above about 2e-4 of the trace; twenty all of float64's.
    """

    iterations: int = option(
        4,
        "Halley iterations K differentiated in the backward; eigenvalues above 9^-K of the trace have converged",
        minimum=1,
        maximum=20,
    )


def halley(spectrum: Spectrum, options: HalleyOptions) -> tuple[Tensor, Tensor]:
    """L = divided differences of the rational function that Halley's iteration evaluates (OpenReview fqpbXJ2QtC).

    Not checked against the authors' code, which was not at hand. From the paper's iteration,
    X <- X (X^2 + 3 A) (3 X^2 + A)^-1 with A = P/tr(P) and X = I at first, this is derived as `newton` is: X is a
    function x of A, the root is sqrt(tr) x(P/tr), the inverse root x(P/tr)^-1/sqrt(tr), and the gradient is that of
    the iteration, while the value is exact. After K steps x is the diagonal Pade approximant of the square root at 1
    of degree (3^K - 1)/2, that of `mpa`, and 3^-K at 0: it has its own limits at ties and at 0, which are left as they
    are. The trace depends on P too: that is the second result, the weights of `gcp.spectral.loewner.Loewner.trace`.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "halley")[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1667
    """
    trace = spectrum.trace
    root = trace.sqrt()
    a = spectrum.eigenvalues / trace
    x, dx = _root(a, options.iterations)
    if spectrum.function.name == "inverse_sqrt":
        scale = root * trace
        dz = -dx / (x.unsqueeze(-1) * x.unsqueeze(-2))
        weights = -(0.5 / x + a * dz.diagonal(dim1=-2, dim2=-1)) / scale
        return mirrored(dz) / scale.unsqueeze(-1), weights
    weights = (x / 2 - a * dx.diagonal(dim1=-2, dim2=-1)) / root
    return mirrored(dx) / root.unsqueeze(-1), weights


def _root(a: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """x(a), (..., n), from x = 1 by x' = x r, r = (x^2 + 3 a)/(3 x^2 + a); and x[a_i, a_j] for i <= j, (..., n, n).

    By the product rule x'[i, j] (3 x_i^2 + a_i) = (x_i^2 + x_i x_j + x_j^2 + 3 a_i - 3 x'_j (x_i + x_j)) x[i, j]
    + 3 x_j - x'_j. The factor of x[i, j] is not negative for a_i >= a_j (upper triangle, a being descending): there
    nothing cancels.
    """
    import torch

    x = torch.ones_like(a)
    dx = torch.zeros_like(a.unsqueeze(-2) * a.unsqueeze(-1))
    for _ in range(iterations):
        square = x**2
        below = 1 / (3 * square + a)
        ratio = (square + 3 * a) * below
        ahead = x * ratio
        # the factor as one product of rank 3: two passes over n x n an iteration
        left = torch.stack([ratio, x * below, below], -1)
        right = torch.stack([torch.ones_like(x), x - 3 * ahead, x * (x - 3 * ahead)], -2)
        dx = torch.addcmul(below.unsqueeze(-1) * (3 * x - ahead).unsqueeze(-2), dx, left @ right)
        x = ahead
    return x, dx


register_method(
    "halley",
    options=HalleyOptions,
    kernel=halley,
    functions=("sqrt", "inverse_sqrt"),
    summary="gradient of Halley's iteration, in the eigenbasis",
    source="Gu et al., NeurIPS 2025 (OpenReview fqpbXJ2QtC)",
)
