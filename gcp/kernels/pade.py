"""Pade approximants of the quotient."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import SpectralOptions


def pade(spectrum: Spectrum, options: SpectralOptions) -> Loewner:
    """L = (f(lam_i) - f(lam_j)) * D with D = P(x)/Q(x)/max, x = smaller/larger of the pair (arXiv 2105.02498).

    P/Q is the diagonal Pade approximant of 1/(1 - x). The function is rational, so every approximant of order 1 or more
    is 1/(1 - x) itself. Coefficients solved for numerically are noise on top of it, with a spurious pole and zero near
    x = 0.997; here it is evaluated as what it is, and the order is no option.
    """
    larger = spectrum.larger
    ratio = spectrum.smaller.div_(larger)
    quotient = ratio.neg_().add_(1).mul_(larger).reciprocal_().copysign_(spectrum.gap)
    return Loewner(spectrum.settle(spectrum.value_gap().mul_(quotient)))
