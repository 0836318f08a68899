"""A loss on principal components with equal eigenvalues
=====================================================

A loss on principal components, where the eigenvalues of two of them cross or become equal.

The two largest components of the features shall span a given plane, and have the variance 1 each: training makes their
eigenvalues equal. The plane does not depend on which directions in it are called components, but autograd through
`torch.linalg.eigh` divides by the gap between them all the same. `gcp.linalg.eigenprojector` divides by the gap below
both alone, the quotients of `gcp.linalg.eigh` are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import gcp.linalg

INPUTS, CHANNELS, COMPONENTS, SAMPLES = 6, 5, 2, 64
RUNS, STEPS, RATE = 100, 400, 0.02
TIMES = torch.cat([-torch.logspace(-1, -8, 29), torch.zeros(1), torch.logspace(-8, -1, 29)]).double()

Components = Callable[[Tensor], tuple[Tensor, Tensor]]


def by_torch(P: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues (..., k) of covariances (..., C, C), and the projector onto their eigenvectors."""
    eigenvalues, U = torch.linalg.eigh(P)
    U = U[..., -COMPONENTS:]
    return eigenvalues[..., -COMPONENTS:], U @ U.mT


def by_eigh(P: Tensor) -> tuple[Tensor, Tensor]:
    """The same, by eigenvectors whose gradient does not blow up."""
    eigenvalues, U = gcp.linalg.eigh(P)
    U = U[..., -COMPONENTS:]
    return eigenvalues[..., -COMPONENTS:], U @ U.mT


def by_projector(P: Tensor) -> tuple[Tensor, Tensor]:
    """The same without eigenvectors."""
    return gcp.linalg.eigvalsh(P)[..., -COMPONENTS:], gcp.linalg.eigenprojector(P, COMPONENTS)


WAYS: dict[str, Components] = {
    "torch.linalg.eigh": by_torch,
    "gcp.linalg.eigh": by_eigh,
    "gcp.linalg.eigenprojector": by_projector,
}


class Found(NamedTuple):
    """Relative errors of the gradient (times,); numbers of runs that are left, and their median loss, at each step."""

    errors: Tensor
    left: list[int]
    losses: list[float]


def planes(count: int, generator: torch.Generator) -> Tensor:
    """Projectors (count, C, C) onto random planes."""
    normal = torch.randn(count, CHANNELS, COMPONENTS, dtype=torch.float64, generator=generator)
    Q = torch.linalg.qr(normal).Q
    return Q @ Q.mT


def errors(way: Components) -> Tensor:
    """Of the gradient in float32 as two eigenvalues, 1 + t and 1 - t, cross; against differences in float64."""
    generator = torch.Generator().manual_seed(0)
    (plane,) = planes(1, generator)
    Q = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, dtype=torch.float64, generator=generator)).Q
    units = torch.eye(CHANNELS**2, dtype=torch.float64).reshape(-1, CHANNELS, CHANNELS)
    moves = 1e-3 * (units + units.mT) / 2
    found = []
    for time in TIMES:
        P = Q * torch.stack([1 + time, 1 - time, *torch.tensor([0.4, 0.2, 0.1])]) @ Q.mT

        def loss(P: Tensor, way: Components = by_torch) -> Tensor:
            return (way(P)[1] - plane.to(P.dtype)).pow(2).sum((-2, -1))

        near, far = (loss(P + step * moves) - loss(P - step * moves) for step in (1, 2))
        exact = ((8 * near - far) / (12 * 1e-3)).reshape(CHANNELS, CHANNELS)
        leaf = P.float().requires_grad_()
        loss(leaf, way).backward()
        assert leaf.grad is not None
        found.append((leaf.grad - exact).norm() / exact.norm())
    return torch.stack(found)


def train(way: Components) -> tuple[list[int], list[float]]:
    """Many small runs at once: linear maps to features, in float32. A run that has NaN is lost."""
    generator = torch.Generator().manual_seed(1)
    plane = planes(RUNS, generator).float()
    x = torch.randn(RUNS, SAMPLES, INPUTS, generator=generator)
    covariance = (x - x.mean(1, keepdim=True)).mT @ x / SAMPLES
    weights = 0.4 * torch.randn(RUNS, CHANNELS, INPUTS, generator=generator)
    left, losses = [], []
    for _ in range(STEPS):
        leaf = weights.requires_grad_()
        variances, projector = way(leaf @ covariance @ leaf.mT)
        loss = (projector - plane).pow(2).sum((-2, -1))
        (gradient,) = torch.autograd.grad((loss + (variances - 1).pow(2).sum(-1)).sum(), leaf)
        weights = (leaf - RATE * gradient).detach()
        whole = (weights.abs() < 1e3).all(-1).all(-1)  # no NaN, no infinity, nothing on its way there
        weights, plane, covariance = weights[whole], plane[whole], covariance[whole]
        left.append(len(weights))
        losses.append(float(loss.detach().median()) if len(loss) else float("nan"))
    return left, losses


def run() -> dict[str, Found]:
    """All three ways."""
    return {name: Found(errors(way), *train(way)) for name, way in WAYS.items()}


def picture(found: dict[str, Found]) -> Figure:
    """Errors at the crossing, and the runs that are left."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, each), style in zip(found.items(), ("C1-", "C2-", "C0--"), strict=True):
        left.plot(TIMES, each.errors, f"{style[:2]}.", label=name)
        right.plot(each.left, style, label=name)
    lost = ~found["torch.linalg.eigh"].errors.isfinite()
    left.plot(TIMES[lost], torch.ones(int(lost.sum())), "C1X", markersize=8, label="NaN")
    left.set_xscale("symlog", linthresh=1e-8)
    left.set_xticks([-1e-2, -1e-5, 0, 1e-5, 1e-2])
    left.set(yscale="log", xlabel="half of the gap between the eigenvalues", ylabel="relative error of the gradient")
    left.set(ylim=(1e-8, 1e4), title="two eigenvalues cross")
    left.legend(fontsize=8, loc="upper left")
    right.set(xlabel="step", ylabel=f"runs without NaN, of {RUNS}", title="training makes them equal", ylim=(-3, 109))
    right.legend(loc="center right")
    return figure


if __name__ == "__main__":
    found = run()
    for name, each in found.items():
        print(f"{name}: largest gradient error {each.errors.max():.1e}, {each.left[-1]} of {RUNS} runs left, "
              f"median loss after {STEPS // 2} steps {each.losses[STEPS // 2]:.1e}")  # fmt: skip
    picture(found).savefig("pca_loss_with_crossing_eigenvalues.png", dpi=80)
