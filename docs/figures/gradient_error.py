"""Gradients of the square root of a covariance as its eigenvalues come together, and how often that happens.

Left: sixteen eigenvalues in pairs, each pair apart by a relative gap; the error of the gradient in float32, by autograd
through `torch.linalg.eigh` and by `gcp`, against the exact one in float64. Right: the covariances of random features,
the largest factor 1/(a - b) of the textbook gradient against the largest entry of L, which it multiplies out to.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import gcp

GAPS = torch.logspace(-1, -8, 22, dtype=torch.float64)
METHODS = ("pade", "taylor", "newton", "lyapunov")
POSITIONS = (20, 30, 50, 100, 200, 500, 1000)
CHANNELS, SAMPLES = 16, 200


class Found(NamedTuple):
    """Relative errors by method (gaps,), and the medians of the largest 1/(a - b) and of the largest L (positions,)."""

    errors: dict[str, Tensor]
    factors: Tensor
    kernels: Tensor


def root_by_torch(P: Tensor) -> Tensor:
    """What one writes first."""
    eigenvalues, U = torch.linalg.eigh(P)
    return U * eigenvalues.sqrt().unsqueeze(-2) @ U.mT


def covariances(gaps: Tensor, generator: torch.Generator) -> Tensor:
    """One (n, n) for each gap: pairs of eigenvalues at 1, 1/2, 1/4, ..., in one basis."""
    levels = 2.0 ** -torch.arange(CHANNELS // 2, dtype=torch.float64)
    pairs = torch.stack([levels * (1 + gaps[:, None]), levels.expand(len(gaps), -1)], dim=-1)
    U = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, dtype=torch.float64, generator=generator))[0]
    return U * pairs.flatten(1).unsqueeze(-2) @ U.mT


def run() -> Found:
    """Errors and factors."""
    generator = torch.Generator().manual_seed(0)
    P = covariances(GAPS, generator)
    G = torch.randn(CHANNELS, CHANNELS, dtype=torch.float64, generator=generator)

    def gradient(root, P):
        leaf = P.clone().requires_grad_()
        (G.to(P) * root(leaf)).sum().backward()
        return leaf.grad.double()

    exact = gradient(lambda M: gcp.spectral_function(M, "sqrt", "lyapunov"), P)
    ways = {"torch.linalg.eigh": root_by_torch}
    ways.update({m: lambda M, m=m: gcp.spectral_function(M, "sqrt", m) for m in METHODS})
    errors = {}
    for name, root in ways.items():
        difference = gradient(root, P.float()) - exact
        errors[name] = difference.flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    factors, kernels = [], []
    for positions in POSITIONS:
        x = torch.randn(SAMPLES, CHANNELS, positions, dtype=torch.float64, generator=generator)
        x = x - x.mean(-1, keepdim=True)
        values = torch.linalg.eigvalsh(x @ x.mT / positions)
        factors.append((1 / values.diff()).amax(-1).median())
        kernels.append((1 / (values[:, 1:].sqrt() + values[:, :-1].sqrt())).amax(-1).median())
    return Found(errors, torch.stack(factors), torch.stack(kernels))


def picture(found: Found) -> Figure:
    """The two panels."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, errors), style in zip(found.errors.items(), ("-", "-", "--", "-.", ":"), strict=True):
        left.loglog(GAPS, errors, style, label=name if "." in name else f"gcp {name}")
    lost = GAPS[found.errors["torch.linalg.eigh"].isnan()]
    left.loglog(lost, torch.ones_like(lost), "X", color="C0", markersize=8, label="NaN")
    left.set(xlabel="relative gap of two eigenvalues", ylabel="relative error", ylim=(2e-8, 1e4))
    left.set_title("gradient of the square root, float32")
    left.invert_xaxis()
    left.legend(ncols=2, fontsize="small", loc="upper left")
    right.loglog(POSITIONS, found.factors, "o-", label="largest 1/(a - b), what autograd multiplies by")
    right.loglog(POSITIONS, found.kernels, "s-", color="C1", label="largest L(a, b), the exact derivative")
    right.set(xlabel="positions", title=f"covariances of {CHANNELS} random channels")
    right.legend()
    return figure


if __name__ == "__main__":
    found = run()
    for name, errors in found.errors.items():
        print(f"{name}: {errors[0]:.1e} at a gap of {GAPS[0]:.0e}, {errors[-1]:.1e} at {GAPS[-1]:.0e}")
    picture(found).savefig("gradient_error.png", dpi=80)
