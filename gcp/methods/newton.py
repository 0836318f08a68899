"""Gradient of the Newton-Schulz square root and inverse square root, in the eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum


@dataclass(frozen=True)
class NewtonOptions(SpectralOptions):
    """Options of `newton`."""

    iterations: int = option(10, "Newton-Schulz iterations differentiated in the backward", minimum=1, maximum=1000)


def newton(spectrum: Spectrum, options: NewtonOptions) -> tuple[Tensor, Tensor]:
    """L = divided differences of the polynomial that Newton-Schulz evaluates (arXiv 2105.02498, 1712.01034).

    The coupled iteration on P/tr(P) gives the root sqrt(tr) y(P/tr) with y(a) = a z(a), and the inverse root
    z(P/tr)/sqrt(tr). A polynomial has its own limits at ties and at 0, which are left as they are. The trace depends
    on P too: that is the second result, the weights of `gcp.spectral.loewner.Loewner.trace`.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "newton")[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1667
    """
    trace = spectrum.trace
    root = trace.sqrt()
    a = spectrum.eigenvalues / trace
    z, dz = _inverse_root(a, options.iterations)
    if spectrum.function.name == "inverse_sqrt":
        scale = root * trace
        weights = -(z / 2 + a * dz.diagonal(dim1=-2, dim2=-1)) / scale
        return mirrored(dz) / scale.unsqueeze(-1), weights
    dy = a.unsqueeze(-2) * dz + z.unsqueeze(-1)
    weights = a * (z / 2 - dy.diagonal(dim1=-2, dim2=-1)) / root
    return mirrored(dy) / root.unsqueeze(-1), weights


def _inverse_root(a: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """z(a), z' = z (3 - a z^2)/2 iterated, (..., n); and z[a_i, a_j] for i <= j, (..., n, n).

    Differences are carried for a_i >= a_j only (upper triangle, a being descending): the other one is unstable.
    """
    import torch

    z = torch.ones_like(a)
    dz = torch.zeros_like(a.unsqueeze(-2) * a.unsqueeze(-1))
    half = a / 2
    for _ in range(iterations):
        # 1.5 - a_j (z_i^2 + z_i z_j + z_j^2)/2 as one product of rank 3: two passes over n x n an iteration
        square = z**2
        step = 1.5 - half * square
        left = torch.stack([torch.ones_like(z), square, z], -1)
        right = torch.stack([step, -half, -half * z], -2)
        dz = torch.addcmul((-0.5 * square * z).unsqueeze(-1), dz, left @ right)
        z = z * step
    return z, dz


def mirrored(upper: Tensor) -> Tensor:
    """The symmetric matrix (..., n, n) with this upper triangle.

    >>> import torch
    >>> mirrored(torch.tensor([[1.0, 2.0], [9.0, 3.0]]))
    tensor([[1., 2.],
            [2., 3.]])
    """
    return upper.triu() + upper.triu(1).mT


register_method(
    "newton",
    options=NewtonOptions,
    kernel=newton,
    functions=("sqrt", "inverse_sqrt"),
    summary="gradient of the Newton-Schulz square root, in the eigenbasis",
    source="Song et al., ICCV 2021 (arXiv 2105.02498); iSQRT-COV, Li et al., CVPR 2018 (arXiv 1712.01034)",
)
