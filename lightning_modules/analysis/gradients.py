"""Error of every method's gradient against the exact one, over condition number, gap and precision."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gcp.functions import spectral_function
from gcp.methods import METHODS, SPECTRAL
from lightning_modules.analysis.part import Part, Table
from lightning_modules.plots.style import legend_beside, method_styles, nested, tidy

SIZE = 24
CONDITIONS = [10.0**k for k in range(1, 13)]
GAPS = [10.0**-k for k in range(1, 14)]
PRECISIONS = ("float64", "mixed", "float32")

TEXT = (
    "The square root of a {size} x {size} matrix with known eigenvalues in a random basis; relative error of "
    "dℓ/dP for a random dℓ/dZ, against the Daleckii-Krein formula with those eigenvalues in float64. Left: "
    "eigenvalues spread geometrically over the condition number. Right: two eigenvalues at a relative gap, others "
    "well apart. `taylor` and `pi` lose what belongs to the pair as its ratio nears 1 (taylor's weight is 1 - "
    "x^101: half of it is gone at a gap of 0.7 %), until the gap is below rounding and both are one eigenspace, "
    "where every method is exact. `newton` is the derivative of an iteration that has not converged for small "
    "eigenvalues, `topn` that of a cut, `trunc` clips at 1e10. The quotients of `original`, `trunc` and `pade` "
    "lose digits in proportion to 1/gap; `lyapunov`, free of cancellation, loses none. `mixed` takes a float32 "
    "matrix, and is judged by the gradient of that matrix with all eigenvalues that rounding has left it (blank "
    "where one is 0); `float32` by that of the matrix before rounding. In a float32 matrix eigenvalues up to "
    "{floor:.0e} of the largest cannot be told from rounding and count as null, so that nothing flows through them: "
    "that is the error from condition 1e6 on. Features keep theirs, for pooling squares them in float64. The page has "
    "float64, "
    "the files have all three."
)


def spectral_methods() -> list[str]:
    """Names of the methods with a kernel that serves the square root."""
    return [name for name in SPECTRAL if "sqrt" in (METHODS.get(name).functions or ("sqrt",))]


def gradients() -> Part:
    """Two tables and a plot of them."""
    methods = spectral_methods()
    by_condition = {
        (method, precision): [error(method, precision, geometric(condition)) for condition in CONDITIONS]
        for method in methods
        for precision in PRECISIONS
    }
    by_gap = {
        (method, precision): [error(method, precision, close_pair(gap)) for gap in GAPS]
        for method in methods
        for precision in PRECISIONS
    }
    tables = [
        _table("gradients_condition", "cond", CONDITIONS, by_condition),
        _table("gradients_gap", "gap", GAPS, by_gap),
    ]
    figure = _figure(methods, by_condition, by_gap)
    return Part(
        "gradients",
        "Error of the gradients",
        TEXT.format(size=SIZE, floor=SIZE * torch.finfo(torch.float32).eps),
        tables,
        figure,
    )


def geometric(condition: float) -> Tensor:
    """Eigenvalues from 1 down to 1/condition."""
    return torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), SIZE, dtype=torch.float64)


def close_pair(gap: float) -> Tensor:
    """1 and 1 - gap, and others from 0.5 down to 0.05."""
    rest = torch.linspace(0.5, 0.05, SIZE - 2, dtype=torch.float64)
    return torch.cat([torch.tensor([1.0, 1.0 - gap], dtype=torch.float64), rest])


def error(method: str, precision: str, eigenvalues: Tensor) -> float:
    """Relative error of the gradient that ``method`` gives for a random dℓ/dZ, Frobenius norms."""
    generator = torch.Generator().manual_seed(0)
    U, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))
    G = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator)
    G = (G + G.mT) / 2
    dtype = torch.float64 if precision == "float64" else torch.float32
    # In float32 the matrix itself is rounded; the mixed precision is then judged by what it makes of that matrix.
    matrix = (U * eigenvalues @ U.mT).to(dtype)
    values, V = eigenvalues, U
    if precision == "mixed":
        values, V = torch.linalg.eigh(((matrix + matrix.mT) / 2).double())
    root = values.clamp(min=0).sqrt()
    exact = V @ ((V.mT @ G @ V) / (root[:, None] + root)) @ V.mT
    matrix.requires_grad_()
    try:
        Z = spectral_function(matrix, "sqrt", method, precision=precision)
    except ArithmeticError:
        return float("nan")  # float32 rounding has made the matrix indefinite
    (found,) = torch.autograd.grad(Z, matrix, G.to(dtype))
    return float(torch.linalg.matrix_norm(found.double() - exact) / torch.linalg.matrix_norm(exact))


def _table(name: str, label: str, x: list[float], errors: dict[tuple[str, str], list[float]]) -> Table:
    rows: list[list[object]] = [[*key, *values] for key, values in errors.items()]
    page = [row for row in rows if row[1] == "float64"]
    return Table(name, ["method", "precision", *(f"{label} {value:.0e}" for value in x)], rows, page)


def _figure(methods: list[str], by_condition: dict[tuple[str, str], list[float]],
            by_gap: dict[tuple[str, str], list[float]]) -> Figure:  # fmt: skip
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    looks = method_styles(methods)
    for line, precision in zip(panels, ("float64", "mixed"), strict=True):
        for axes, x, errors, label in (
            (line[0], CONDITIONS, by_condition, "condition number"),
            (line[1], GAPS, by_gap, "relative gap 1 - x of a pair of eigenvalues"),
        ):
            for position, method in enumerate(methods):
                values = [max(value, 1e-17) for value in errors[method, precision]]
                axes.loglog(x, values, **looks[method], **nested(position, len(methods), len(x)), label=method)
            axes.set_xlabel(label)
            axes.set_ylabel(f"relative gradient error, {precision}")
            tidy(axes)
        line[1].invert_xaxis()
    legend_beside(figure, panels[0][0])
    return figure
