"""The kernel L(1, x) of each spectral method for the square root, divided by the exact one, from the library itself."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

import gcp

RATIOS = torch.linspace(0.002, 0.999, 200, dtype=torch.float64)
METHODS = {
    "lyapunov, pade, original": ("lyapunov", {}),
    "taylor, degree 10": ("taylor", {"degree": 10}),
    "pi, 5 iterations": ("pi", {"iterations": 5}),
    "lorentz, width 0.1": ("lorentz", {"width": 0.1}),
    "newton, 6 iterations": ("newton", {"iterations": 6}),
    "halley, 3 iterations": ("halley", {"iterations": 3}),
    "trunc, limit 10": ("trunc", {"limit": 10.0}),
}


def kernel(method: str, options: dict[str, object]) -> Tensor:
    """L(1, x) for each ratio x: twice the derivative of the off-diagonal entry of sqrt(diag(1, x))."""
    P = torch.diag_embed(torch.stack([torch.ones_like(RATIOS), RATIOS], dim=-1)).requires_grad_()
    gcp.spectral_function(P, "sqrt", method, **options)[:, 0, 1].sum().backward()
    return 2 * P.grad[:, 0, 1]


def run() -> dict[str, Tensor]:
    """L(1, x)/f[1, x] by method."""
    exact = 1 / (1 + RATIOS.sqrt())
    return {name: kernel(method, options) / exact for name, (method, options) in METHODS.items()}


def picture(found: dict[str, Tensor]) -> Figure:
    """All of them over x."""
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for (name, values), style in zip(found.items(), ("-", "--", "-.", ":", "--", "-.", "-"), strict=True):
        axes.plot(RATIOS, values, style, label=name)
    axes.set(xlabel="x = b/a, the ratio of two eigenvalues", ylabel="L(a, b) / exact", ylim=(0, 2.1))
    axes.set_title("what each method makes of the exact derivative")
    axes.legend(ncols=2, fontsize="small", loc="upper left")
    return figure


if __name__ == "__main__":
    found = run()
    for name, values in found.items():
        print(f"{name}: {values.min():.3f} to {values.max():.3f}")
    picture(found).savefig("kernels.png", dpi=80)
