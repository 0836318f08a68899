"""1/(lam_i - lam_j) as a Pade approximant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.pairs import Pairs


def pade(pairs: Pairs, options: SpectralOptions) -> Tensor:
    """D = P(x)/Q(x)/max, x = smaller/larger of the pair (arXiv 2105.02498).

    P/Q is the diagonal Pade approximant of 1/(1 - x). The function is rational, so every approximant of order 1 or more
    is 1/(1 - x) itself. Coefficients solved for numerically are noise on top of it, with a spurious pole and zero near
    x = 0.997; here it is evaluated as what it is, and the order is no option.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "pade")[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1667
    """
    larger = pairs.larger
    ratio = pairs.smaller.div_(larger)
    return ratio.neg_().add_(1).mul_(larger).reciprocal_().copysign_(pairs.gap)


register_method(
    "pade",
    quotient=pade,
    exact_quotient=True,
    summary="1/(lam_i - lam_j) as a Pade approximant of the ratio of eigenvalues",
    source="Song et al., ICCV 2021 (arXiv 2105.02498)",
)
