"""Exact divided differences: for the square root, the solution S of the Lyapunov equation Z S + S Z = G."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum


def lyapunov(spectrum: Spectrum, options: SpectralOptions) -> Tensor:
    """L = f[lam_i, lam_j], for the square root 1/(sqrt lam_i + sqrt lam_j) (arXiv 1707.06772).

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "lyapunov")[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1667
    """
    return spectrum.with_limits(spectrum.divided_differences())


register_method(
    "lyapunov",
    kernel=lyapunov,
    exact=True,
    summary="the exact derivative, free of cancellation",
    source="Lin and Maji, BMVC 2017 (arXiv 1707.06772); Ionescu et al., ICCV 2015 (arXiv 1509.07838)",
)
