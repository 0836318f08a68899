"""Pade approximants of the quotient."""

import torch

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import SpectralOptions


def pade(spectrum: Spectrum, options: SpectralOptions) -> Loewner:
    """L = (f(lam_i) - f(lam_j)) * D with D = P(x)/Q(x)/max, x = smaller/larger of the pair (arXiv 2105.02498).

    P/Q is the diagonal Pade approximant of 1/(1 - x). The function is rational, so every approximant of order 1 or more
    is 1/(1 - x) itself. Coefficients solved for numerically are noise on top of it, with a spurious pole and zero near
    x = 0.997; here it is evaluated as what it is, and the order is no option.
    """
    larger = spectrum.larger
    quotient = (1 / (larger * (1 - spectrum.smaller / larger))).abs()
    return Loewner(spectrum.settle(spectrum.value_gap() * torch.copysign(quotient, spectrum.gap)))
