"""The textbook gradient of the eigendecomposition."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import SpectralOptions


def original(spectrum: Spectrum, options: SpectralOptions) -> Loewner:
    """L = (f(lam_i) - f(lam_j)) * 1/(lam_i - lam_j), the literal quotient with its rounding (arXiv 1703.08050)."""
    return Loewner(spectrum.settle(spectrum.value_gap() / spectrum.gap))
