"""Gradient of power iteration with deflation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum
    from gcp.spectral.pairs import Pairs


@dataclass(frozen=True)
class PowerIterationOptions(SpectralOptions):
    """Options of `pi`."""

    iterations: int = option(19, "K: the backward is that of K + 1 unrolled power steps", minimum=1)


def weight(pairs: Pairs, options: PowerIterationOptions) -> Tensor:
    """w = 1 - x^(K+1) on the cotangent of the larger eigenvalue's vector, 1 - x^K on that of the smaller one's.

    D_K and D_{K-1} of `pi`, times the gap. Deflation comes after the power steps, so the
    larger one's has a step more.

    >>> import torch
    >>> from gcp.spectral.pairs import levels
    >>> pairs = levels(torch.tensor([4.0, 1.0]), 2, False, torch.tensor([1e-6]))
    >>> weight(pairs, PowerIterationOptions(iterations=1))[0, 1]
    tensor(0.9375)
    """
    import torch

    of_larger, of_smaller = (pairs.complement_of_power(options.iterations + more) for more in (1, 0))
    return torch.where(pairs.row_first, of_larger, of_smaller)


def pi(spectrum: Spectrum, options: PowerIterationOptions) -> Tensor:
    """L of power iteration with the deflation M - M v v^T, in closed form (arXiv 1906.09023).

    For lam_i the larger, L = f(lam_i) D_K - f(lam_j) D_{K-1} with D_k = (1/lam_i) sum_{l=0..k} x^l, x = lam_j/lam_i,
    which without cancellation is (1 - x^K) f[lam_i, lam_j] + x^K f(lam_i)/lam_i. Where f(0) is not 0, f stands for
    f - f(0): the identity that f(0) multiplies has no eigenvectors to iterate for.

    The gradient of the root's entry (0, 1) at diag(4, 1) is L(4, 1)/2:

    >>> import gcp, torch
    >>> P = torch.diag(torch.tensor([4.0, 1.0])).requires_grad_()
    >>> gcp.spectral_function(P, "sqrt", "pi", iterations=1)[0, 1].backward()
    >>> round(P.grad[0, 1].item(), 4)
    0.1875
    """
    larger = spectrum.larger
    power = spectrum.ratio_power(options.iterations)
    exact = (1 - power) * spectrum.divided_differences()
    return spectrum.with_limits(exact + power * spectrum.value_above_null(larger) / larger)


register_method(
    "pi",
    options=PowerIterationOptions,
    kernel=pi,
    weight=weight,
    summary="gradient of power iteration with deflation",
    source="Wang et al., NeurIPS 2019 (arXiv 1906.09023)",
)
