"""Taylor polynomial of the quotient."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import TaylorOptions


def taylor(spectrum: Spectrum, options: TaylorOptions) -> Loewner:
    """L = (1 - x^(degree+1)) f[lam_i, lam_j], x = min/max of the pair (arXiv 2104.03821).

    Equal to (f(lam_i) - f(lam_j)) D with D = (1/max) sum_{l=0..degree} x^l in place of 1/(lam_i - lam_j).
    """
    weight = 1 - spectrum.ratio_power(options.degree + 1)
    return Loewner(spectrum.settle(weight * spectrum.divided_differences()))
