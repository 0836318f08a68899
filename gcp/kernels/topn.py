"""Only the largest eigenvalues count, in value and in gradient."""

import torch
from torch import Tensor

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.kernels.original import original
from gcp.methods import TopNOptions


def kept(spectrum: Spectrum, options: TopNOptions) -> Tensor:
    """Mask (..., n) of the eigenvalues kept: the largest ones, and those tied with the last of them.

    Cutting through an eigenspace would make the result depend on the basis the decomposition chose for it.
    """
    last = min(options.kept(spectrum.channels), spectrum.eigenvalues.shape[-1]) - 1
    position = torch.arange(spectrum.eigenvalues.shape[-1], device=spectrum.eigenvalues.device)
    return ((position <= last) | spectrum.tied[..., last]) & (spectrum.eigenvalues != spectrum.null)


def topn(spectrum: Spectrum, options: TopNOptions) -> Loewner:
    """L of `original` among kept pairs, f[lam, 0] between kept and dropped, 0 among dropped (arXiv 2105.02498).

    Not the derivative of the cut: dropped eigenvalues count as null and receive no gradient of their own. f[lam, 0]
    is f(lam)/lam for the square root and (f(lam) - f(0))/lam in general.
    """
    mask = kept(spectrum, options)
    dropped = ~mask
    among_kept = original(spectrum, options).matrix
    across = spectrum.function.divided_difference(spectrum.larger, spectrum.null.unsqueeze(-1))
    one_kept = mask.unsqueeze(-1) ^ mask.unsqueeze(-2)
    matrix = torch.where(one_kept, across, among_kept)
    return Loewner(matrix.masked_fill(dropped.unsqueeze(-1) & dropped.unsqueeze(-2), 0))
