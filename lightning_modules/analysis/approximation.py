"""Error of Taylor and Pade approximants of 1/(1 - x)."""

from __future__ import annotations

from fractions import Fraction

import torch
from matplotlib.figure import Figure

from gcp.diagnostics.approximation import taylor_error, taylor_value
from lightning_modules.analysis.part import Part, Table
from lightning_modules.plots.style import method_styles, tidy

RATIOS = ("0.1", "0.3", "0.5", "0.7", "0.9", "0.99", "0.999")
PUBLISHED_TAYLOR = (9e-19, 7e-18, 2e-21, 8e-16, 2e-4, 36.0, 904.0)  # ICCV 2021, poster
PUBLISHED_PADE = (9e-19, 5e-18, 1e-21, 5e-17, 3e-16, 8e-13, 3e-10)
DEGREE = 100

TEXT = (
    "K_ij = 1/(lam_i - lam_j) is 1/(lam_i (1 - x)) with x = lam_j/lam_i. The Taylor polynomial of degree 100 is "
    "off by x^101/(1 - x): without rounding this is the third column, in float64 the fourth. It agrees with the "
    "published row wherever that is larger than rounding (x = 0.7 and above). Below, the published figures are "
    "not errors of the polynomial, which are 1e-31 and less, but the rounding of the arithmetic they were "
    "evaluated in. The diagonal Pade approximant of a rational function is that function: its error is 0, and "
    "what is left in float64 is the rounding of 1/(1 - x) as this library evaluates it, {ours:.0e} at x = 0.999, "
    "where the published evaluation, through coefficients solved for numerically, left 3e-10."
)


def approximation() -> Part:
    """Table and plot over the ratio of eigenvalues."""
    exact = [Fraction(ratio) for ratio in RATIOS]
    rows = []
    for ratio, fraction, taylor, pade in zip(RATIOS, exact, PUBLISHED_TAYLOR, PUBLISHED_PADE, strict=True):
        true, evaluated, ours = taylor_error(fraction, DEGREE), *float64_errors(fraction)
        rows.append([float(ratio), taylor, true, evaluated, true / taylor, pade, 0.0, ours])
    header = [
        "x", "taylor, published", "taylor, exact", "taylor, float64", "exact/published", "pade, published",
        "pade, exact", "pade, float64",
    ]  # fmt: skip
    table = Table("approximation", header, rows)
    text = TEXT.format(ours=rows[-1][-1])
    return Part("approximation", "Error of the approximants of 1/(1 - x)", text, [table], _figure())


def float64_errors(x: Fraction) -> tuple[float, float]:
    """Errors of the Taylor polynomial and of the ratio form in float64, against 1/(1 - x) without rounding."""
    value = torch.tensor(float(x), dtype=torch.float64)
    taylor, pade = taylor_value(value, DEGREE), 1 / (1 - value)
    true = 1 / (1 - Fraction(float(x)))  # of the number that float64 holds
    return float(abs(Fraction(float(taylor)) - true)), float(abs(Fraction(float(pade)) - true))


def _figure() -> Figure:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    gaps = torch.logspace(-5, -0.02, 60, dtype=torch.float64).tolist()
    points = [Fraction(1 - gap) for gap in gaps]
    errors = [float64_errors(point) for point in points]
    plain = [max(each[0], 1e-20) for each in errors], [max(each[1], 1e-20) for each in errors]
    relative = [[error * gap for error, gap in zip(each, gaps, strict=True)] for each in plain]
    looks = method_styles(["taylor", "pade"])
    for look, name, values in zip(looks.values(), (f"taylor, degree {DEGREE}", "pade"), relative, strict=True):
        axes.loglog(gaps, values, **look, markersize=4, markevery=3, label=name)
    at = [1 - float(ratio) for ratio in RATIOS]
    for (method, look), reported in zip(looks.items(), (PUBLISHED_TAYLOR, PUBLISHED_PADE), strict=True):
        published = [value * gap for value, gap in zip(reported, at, strict=True)]
        axes.loglog(at, published, linestyle="none", marker=look["marker"],
                    markerfacecolor="none", markeredgecolor=look["color"], markersize=10,
                    label=f"{method}, published")  # fmt: skip
    axes.set_xlabel("1 - x, relative gap of two eigenvalues")
    axes.set_ylabel("relative error of 1/(1 - x), float64")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
    return figure
