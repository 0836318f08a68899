"""The textbook gradient with its quotient clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.pairs import Pairs


@dataclass(frozen=True)
class TruncOptions(SpectralOptions):
    """Options of `trunc`."""

    scale_free = False

    limit: float = option(1e10, "largest |1/(lam_i - lam_j)|, in units of 1/eigenvalue", above=0)


def trunc(pairs: Pairs, options: TruncOptions) -> Tensor:
    """D = clip(1/(lam_i - lam_j), -limit, limit) (arXiv 2105.02498).

    The limit is absolute, as published: unlike the other methods this one does not scale with the covariance.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 1 * 0.25:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "trunc", limit=0.25)[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.125
    """
    return pairs.gap.reciprocal().clamp(-options.limit, options.limit)


register_method(
    "trunc",
    options=TruncOptions,
    quotient=trunc,
    summary="1/(lam_i - lam_j) clipped to an absolute limit",
    source="Song et al., ICCV 2021 (arXiv 2105.02498)",
)
