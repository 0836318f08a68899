"""What the eigenvalues of covariances say about the gradients of a spectral layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gcp.rounding import rounding_floor

NEAR = 1e-3  # relative gap below which two neighbouring eigenvalues count as nearly tied


class SpectrumStatistics(NamedTuple):
    """Of a batch of spectra, (B,) each, float64.

    Attributes:
        condition: largest over smallest eigenvalue that is not null; NaN where all are.
        effective_rank: exp of the entropy of the eigenvalues as shares of their sum (Roy and Vetterli, EUSIPCO 2007).
        null: eigenvalues the decomposition cannot tell from 0, out of C.
        tied: neighbours it cannot tell apart, among those not null.
        near_tied: neighbours closer than `NEAR` of the larger one, the tied ones included.
        smallest_gap: the smallest relative gap of two neighbours that are not tied; NaN where there is none.
        largest_k: 1/(smallest absolute gap) among those, the largest |K_ij| that the quotient methods meet; likewise.
    """

    condition: Tensor
    effective_rank: Tensor
    null: Tensor
    tied: Tensor
    near_tied: Tensor
    smallest_gap: Tensor
    largest_k: Tensor


@torch.no_grad()
def spectrum_statistics(eigenvalues: Tensor, channels: int, positions: int) -> SpectrumStatistics:
    """Statistics of the spectra of covariances.

    Args:
        eigenvalues: (B, n), descending, null ones 0, as `gcp.covariance.decomposed_root` gives them.
        channels: C, the size of the covariances, n or more.
        positions: N, of the feature maps they are of.

    >>> statistics = spectrum_statistics(torch.tensor([[4.0, 1.0, 0.0]]), channels=3, positions=3)
    >>> statistics.condition.item(), statistics.null.item(), statistics.smallest_gap.item()
    (4.0, 1.0, 0.75)
    """
    lam = eigenvalues.double()
    # null ones are 0 already; what remains is told apart to this
    floor = rounding_floor(eigenvalues, channels, positions).double()
    present = lam > 0
    count = present.sum(-1)
    smallest = torch.where(present, lam, torch.inf).amin(-1)
    share = lam / lam.sum(-1, keepdim=True)
    entropy = -torch.where(present, share * share.log(), 0).sum(-1)
    gap = lam[:, :-1] - lam[:, 1:]
    pair = present[:, 1:]
    tied = pair & (gap <= floor)
    near = pair & (gap < NEAR * lam[:, :-1])
    apart = pair & ~tied
    least = _least(apart, gap)
    relative = _least(apart, gap / lam[:, :-1])
    nothing = ~apart.any(-1)
    return SpectrumStatistics(
        condition=torch.where(count > 0, lam[:, 0] / smallest, torch.nan),
        effective_rank=torch.where(count > 0, entropy.exp(), 0),
        null=(channels - count).double(),
        tied=tied.sum(-1).double(),
        near_tied=near.sum(-1).double(),
        smallest_gap=torch.where(nothing, torch.nan, relative),
        largest_k=torch.where(nothing, torch.nan, 1 / least),
    )


def _least(chosen: Tensor, values: Tensor) -> Tensor:
    """Smallest of the chosen (B, m), infinite where there is none."""
    padded = torch.nn.functional.pad(torch.where(chosen, values, torch.inf), (0, 1), value=torch.inf)
    return padded.amin(-1)
