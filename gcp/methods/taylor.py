"""1/(lam_i - lam_j) as a Taylor polynomial."""

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
class TaylorOptions(SpectralOptions):
    """Options of `taylor`."""

    degree: int = option(100, "degree of the Taylor polynomial of 1/(1 - x)", minimum=1)


def taylor(pairs: Pairs, options: TaylorOptions) -> Tensor:
    """w = 1 - x^(degree+1), x = smaller/larger of the pair (arXiv 2104.03821).

    D = w/(lam_i - lam_j) is (1/larger) sum_{l=0..degree} x^l in place of 1/(lam_i - lam_j). Published for eigenvalues
    that are not negative; of opposite signs x counts as 0.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = (1 - 1/16)/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "taylor", degree=1)[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1562
    """
    return pairs.complement_of_power(options.degree + 1)


register_method(
    "taylor",
    options=TaylorOptions,
    weight=taylor,
    summary="1/(lam_i - lam_j) as a Taylor polynomial of the ratio of eigenvalues",
    source="Wang et al., TPAMI 2021 (arXiv 2104.03821)",
)
