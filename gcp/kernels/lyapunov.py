"""Exact divided differences: for the square root, the solution of the Lyapunov equation Z S + S Z = G."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import SpectralOptions


def lyapunov(spectrum: Spectrum, options: SpectralOptions) -> Loewner:
    """L = f[lam_i, lam_j], for the square root 1/(sqrt lam_i + sqrt lam_j) (arXiv 1707.06772)."""
    return Loewner(spectrum.settle(spectrum.divided_differences()))
