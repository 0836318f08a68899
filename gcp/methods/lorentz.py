"""1/(lam_i - lam_j), broadened as a Lorentzian."""

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
class LorentzOptions(SpectralOptions):
    """Options of `lorentz`."""

    width: float = option(1e-6, "gaps below width times the largest eigenvalue are damped", above=0)


def lorentz(pairs: Pairs, options: LorentzOptions) -> Tensor:
    """w = gap^2/(gap^2 + (width lam_max)^2), gap = lam_i - lam_j (arXiv 1903.09650).

    D = w/gap is gap/(gap^2 + (width lam_max)^2) in place of 1/(lam_i - lam_j), at most 1/(2 width lam_max). There the
    broadening is absolute, for spectra of which the largest value is about 1.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2, L = 9/(9 + 16)/3:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "lorentz", width=1.0)[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.06
    """
    return 1 / (1 + (options.width * pairs.largest / pairs.gap) ** 2)


register_method(
    "lorentz",
    options=LorentzOptions,
    weight=lorentz,
    summary="1/(lam_i - lam_j) broadened as a Lorentzian, as in tensor networks",
    source="Liao et al., Physical Review X 2019 (arXiv 1903.09650)",
)
