"""Gradient of the Newton-Schulz square root, in the eigenbasis."""

import torch

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import NewtonOptions


def newton(spectrum: Spectrum, options: NewtonOptions) -> Loewner:
    """L = divided differences of the polynomial that Newton-Schulz evaluates (arXiv 2105.02498, 1712.01034).

    The coupled iteration on P/tr(P) gives sqrt(tr) y(P/tr) with y(a) = a z(a) and z' = z (3 - a z^2)/2. Differences
    are carried for a_i >= a_j only (upper triangle, eigenvalues being descending) and mirrored: the other triangle
    is unstable. A polynomial has its own limit at ties, so none is put in.
    """
    trace = spectrum.eigenvalues.sum(-1, keepdim=True)
    trace = torch.where(trace > 0, trace, 1)
    a = spectrum.eigenvalues / trace
    smaller = a.unsqueeze(-2)
    z = torch.ones_like(a)
    dz = torch.zeros_like(spectrum.gap)
    for _ in range(options.iterations):
        of_larger, of_smaller = z.unsqueeze(-1), z.unsqueeze(-2)
        square = of_larger**2
        factor = 1.5 - smaller / 2 * (of_smaller * (of_smaller + of_larger) + square)
        dz = dz * factor - square * of_larger / 2
        z = z * (1.5 - a * z**2 / 2)
    dy = smaller * dz + z.unsqueeze(-1)
    matrix = dy.triu() + dy.triu(1).mT
    null = spectrum.larger == 0
    root = trace.sqrt()
    derivative = dy.diagonal(dim1=-2, dim2=-1)
    weights = a * (z / 2 - derivative) / root
    return Loewner(torch.where(null, 0, matrix / root.unsqueeze(-1)), weights)
