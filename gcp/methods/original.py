"""The textbook gradient of the eigendecomposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.pairs import Pairs


def original(pairs: Pairs, options: SpectralOptions) -> Tensor:
    """D = 1/(lam_i - lam_j), the literal quotient with its rounding (arXiv 1703.08050).

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "original")[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1667
    """
    return pairs.gap.reciprocal_()


register_method(
    "original",
    quotient=original,
    exact_quotient=True,
    summary="the textbook quotient 1/(lam_i - lam_j)",
    source="MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
)
