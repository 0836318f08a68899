"""Upper bounds of |K_ij| in double precision, and what the one of Pade is."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure

from gcp.diagnostics.approximation import solved_pade
from gcp.methods import SpectralOptions
from gcp.methods.pade import pade
from gcp.methods.taylor import TaylorOptions
from gcp.methods.trunc import TruncOptions
from gcp.spectral.kernels import QuotientKernel
from gcp.spectral.loewner import Spectrum
from gcp.spectral.maps import SquareRoot
from lightning_modules.analysis.part import Part, Table
from lightning_modules.plots.style import LINES, MARKERS, method_styles, shades, tidy

EPS = torch.finfo(torch.float64).eps
SEEDS = 8

TEXT = (
    "The reference raises every eigenvalue to eps = 2.2e-16 at least, which bounds the coefficients: Taylor's is "
    "a sum of 101 powers of at most 1 over at least eps; trunc is clipped at its limit; topn sets what it drops "
    "to eps. For Pade the poster has 6.00e36. But a rational function that is 1/(1 - x) has a pole at x = 1, and "
    "a value found there is the rounding of its coefficients: solved for in float64 from Taylor coefficients that "
    "are right to rounding, P(1)/Q(1) comes out between {low:.0e} and {high:.0e}, either sign, in the second "
    "table; it is the inverse of the rounding, and arithmetic of 20 digits, as the reference uses, gives 1e20 and "
    "more, divided by eps 1e36. The solutions differ in further zeros of Q, which cancel with zeros of P up to "
    "rounding; around them the error rises (the peak in the plot). As the function it is, the largest quotient of "
    "two different float64 eigenvalues not below eps is that of the plain SVD, 2.03e31 (4.06e31 through the "
    "ratio). In this library eigenvalues closer than the rounding of their decomposition are one eigenspace, so "
    "for lam_max = 1 and 256 channels no kernel sees more than 1/(256 eps) = {ours:.1e}; what multiplies the "
    "gradient is L = (f(lam_i) - f(lam_j)) K, at most 1/(2 sqrt(lam)) but for rounding: at the smallest gap that "
    "counts, L of pade is off by {off:.0e} of itself."
)


def bounds() -> Part:
    """Table of bounds, table of solved coefficients, plot of one solved approximant."""
    degree, limit = TaylorOptions().degree, TruncOptions().limit
    spacing = (
        float(torch.nextafter(torch.tensor(EPS, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))) - EPS
    )
    rows: list[list[Any]] = [
        ["taylor", "(K + 1)/eps", 4.55e17, (degree + 1) / EPS],
        ["trunc", "its limit", 1e10, limit],
        ["topn", "1/eps", 4.50e15, 1 / EPS],
        ["pade", "1/(1 - x)/eps at the largest x below 1", 6.00e36, 1 / (EPS * (EPS / 2))],
        ["plain SVD", "1/gap of neighbouring numbers at eps", None, 1 / spacing],
    ]
    rows = [[*row, None if row[2] is None else row[3] / row[2]] for row in rows]
    solved: list[list[Any]] = []
    for seed in range(SEEDS):
        approximant = solved_pade(seed=seed)
        at_one = float(approximant(torch.ones(1, dtype=torch.float64))[0])
        spurious = [pole for pole in approximant.poles().tolist() if abs(pole - 1) > 1e-8]
        solved.append([seed, at_one, abs(at_one) / EPS, ", ".join(f"{pole:.4f}" for pole in spurious)])
    header = ["method", "how", "published", "here", "here/published"]
    sizes = [abs(row[1]) for row in solved]
    text = TEXT.format(ours=1 / (EPS * 256), off=_deviation(256), low=min(sizes), high=max(sizes))
    tables = [
        Table("bounds", header, rows),
        Table(
            "bounds_solved_pade", ["rounding", "P(1)/Q(1)", "|P(1)/Q(1)|/eps", "other zeros of Q, 0.5 to 1.5"], solved
        ),
    ]
    return Part("bounds", "Upper bounds of |K|", text, tables, _figure())


def _deviation(channels: int) -> float:
    """Relative error of pade's L at the smallest gap that counts as one, largest eigenvalue 1."""
    gap = 2 * EPS * channels
    eigenvalues = torch.tensor([1.0, 1.0 - gap, 0.0], dtype=torch.float64)
    tied = torch.eye(3, dtype=torch.bool)
    kernel = QuotientKernel(pade)(Spectrum(eigenvalues, tied, SquareRoot(), channels), SpectralOptions())
    return abs(float(kernel[0, 1]) / (1 / (1 + math.sqrt(1 - gap))) - 1)


def _figure() -> Figure:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    gaps = torch.logspace(-6, -0.5, 4000, dtype=torch.float64)
    x, middle = 1 - gaps, gaps.view(80, 50)[:, 25]
    approximants = {"as 1/(1 - x)": 1 / (1 - x)}
    approximants |= {f"solved, rounding {seed}": solved_pade(seed=seed)(x) for seed in (0, 3, 5)}
    colours = shades(method_styles(["pade"])["pade"]["color"], len(approximants))
    for position, (name, values) in enumerate(approximants.items()):
        # the largest error of 50 neighbouring ratios
        error = (values * (1 - x) - 1).abs().view(80, 50).amax(1).clamp(min=EPS / 4)
        look = {"color": colours[position], "marker": MARKERS[position], "linestyle": LINES[position % len(LINES)]}
        axes.loglog(middle, error, **look, markersize=5, markevery=(2 * position, 8), linewidth=1.5, label=name)
    axes.set_xlabel("1 - x, relative gap of two eigenvalues")
    axes.set_ylabel("relative error of the approximant")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    return figure
