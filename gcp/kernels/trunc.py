"""The textbook gradient with its quotient clipped."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import TruncOptions


def trunc(spectrum: Spectrum, options: TruncOptions) -> Loewner:
    """L = (f(lam_i) - f(lam_j)) * clip(1/(lam_i - lam_j), -limit, limit) (arXiv 2105.02498).

    The limit is absolute, as published: unlike the other kernels this one does not scale with the covariance.
    """
    quotient = (1 / spectrum.gap).clamp(-options.limit, options.limit)
    return Loewner(spectrum.settle(spectrum.value_gap() * quotient))
