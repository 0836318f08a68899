"""Gradient of power iteration with deflation."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import PowerIterationOptions


def pi(spectrum: Spectrum, options: PowerIterationOptions) -> Loewner:
    """L of power iteration with the deflation M - M v v^T, in closed form (arXiv 1906.09023).

    For lam_i the larger, L = f(lam_i) D_K - f(lam_j) D_{K-1} with D_k = (1/lam_i) sum_{l=0..k} x^l, x = lam_j/lam_i,
    which without cancellation is (1 - x^K) f[lam_i, lam_j] + x^K f(lam_i)/lam_i. Where f(0) is not 0, f stands for
    f - f(0): the identity that f(0) multiplies has no eigenvectors to iterate for.
    """
    larger = spectrum.larger
    power = spectrum.ratio_power(options.iterations)
    exact = (1 - power) * spectrum.divided_differences()
    return Loewner(spectrum.settle(exact + power * spectrum.rise(larger) / larger))
