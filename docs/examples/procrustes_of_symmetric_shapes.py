"""The rotation between symmetric shapes
=====================================

The rotation between two shapes (orthogonal Procrustes, Kabsch), differentiated where the shapes are symmetric.

Of a cube's corners all directions are alike, so that the matrix behind the rotation has three equal singular values:
autograd through `torch.linalg.svd` divides rounding by their differences, in the end 0 by 0. `gcp.linalg.procrustes`
divides by their sums alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from matplotlib.figure import Figure
from torch import Tensor

import gcp.linalg

CUBE = torch.tensor(list(product([-1.0, 1.0], repeat=3)), dtype=torch.float64)  # (8, 3)
ASYMMETRIES = torch.logspace(0, -16, 33, dtype=torch.float64)
STEPS, RATE = 60, 0.3


def by_gcp(A: Tensor) -> Tensor:
    """The rotation nearest to A (3, 3)."""
    return gcp.linalg.procrustes(A)


def by_torch(A: Tensor) -> Tensor:
    """The same by `torch.linalg.svd`."""
    U, _, Vh = torch.linalg.svd(A)
    one = torch.ones_like(A[0, 0])
    return U * torch.stack([one, one, torch.linalg.det(U @ Vh)]) @ Vh


ROTATIONS: dict[str, Callable[[Tensor], Tensor]] = {"torch.linalg.svd": by_torch, "gcp.linalg.procrustes": by_gcp}


def turned(shape: Tensor) -> Tensor:
    """The shape (N, 3), turned by half a radian about (1, 2, 3)."""
    axis = torch.tensor([1.0, 2.0, 3.0], dtype=shape.dtype) / 14**0.5
    return shape @ torch.linalg.matrix_exp(0.5 * torch.linalg.cross(axis.expand(3, 3), torch.eye(3).to(shape)))


def differences(loss: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-4) -> Tensor:
    """The gradient by differences of fourth order."""
    moves = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    slopes = [8 * (loss(x + move) - loss(x - move)) - (loss(x + 2 * move) - loss(x - 2 * move)) for move in moves]
    return torch.stack(slopes).reshape(x.shape) / (12 * step)


def errors(rotation: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Tensor:
    """Relative error of the gradient by the turned shape, for boxes that differ from the cube less and less."""
    weights = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for asymmetry in ASYMMETRIES:
        shape = turned(CUBE * (1 + asymmetry * torch.arange(3)))
        exact = differences(lambda shape: (weights * by_gcp(shape.mT @ CUBE)).sum(), shape)
        leaf = shape.to(dtype).requires_grad_()
        (weights.to(dtype) * rotation(leaf.mT @ CUBE.to(dtype))).sum().backward()
        assert leaf.grad is not None
        found.append((leaf.grad - exact).norm() / exact.norm())
    return torch.stack(found)


def train(rotation: Callable[[Tensor], Tensor]) -> Tensor:
    """Squared error of the rotation after each step; the corners to be moved begin as those of the cube itself."""
    cube = CUBE.float()
    true = turned(torch.eye(3))
    corners = cube.clone().requires_grad_()
    found: list[Tensor] = []
    while len(found) < STEPS and corners.isfinite().all():
        loss = (rotation(corners.mT @ cube) - true).pow(2).sum()
        found.append(loss.detach())
        (gradient,) = torch.autograd.grad(loss, corners)
        corners = (corners - RATE * gradient).detach().requires_grad_()
    return torch.stack(found)


def run() -> dict[str, dict[str, Tensor]]:
    """For each way to the rotation: gradient errors in float64 and float32, and the training."""
    return {
        name: {"float64": errors(way, torch.float64), "float32": errors(way, torch.float32), "training": train(way)}
        for name, way in ROTATIONS.items()
    }


def picture(found: dict[str, dict[str, Tensor]]) -> Figure:
    """Errors over asymmetry, and training from the cube."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, each), colour in zip(found.items(), ("C1", "C2"), strict=True):
        for dtype, style in (("float64", "-"), ("float32", "--")):
            left.loglog(ASYMMETRIES, each[dtype], style, color=colour, label=f"{name}, {dtype}")
            last = int(each[dtype].isfinite().nonzero().max())
            if last < len(ASYMMETRIES) - 1:
                left.plot(ASYMMETRIES[last], each[dtype][last], "X", color=colour, markersize=10)
        right.semilogy(each["training"], "X-"[len(each["training"]) > 1], color=colour, markersize=10, label=name)
    left.plot([], [], "X", color="C1", markersize=10, label="NaN from here on")
    left.invert_xaxis()
    left.set(xlabel="difference of the sides from a cube's", ylabel="relative error of the gradient", ylim=(1e-12, 1e9))
    left.legend(fontsize=8, loc="upper left")
    right.set(xlabel="step", ylabel="squared error of the rotation", title="training from the cube, float32")
    right.annotate("NaN after the first step", (0, 0.49), (6, 0.49), color="C1", va="center")
    right.legend(loc="lower left")
    return figure


if __name__ == "__main__":
    found = run()
    for name, each in found.items():
        numbers = ", ".join(f"{dtype} {each[dtype][-1]:.1e}" for dtype in ("float64", "float32"))
        print(f"{name}: gradient error at the cube: {numbers}; {len(each['training'])} steps, "
              f"error of the rotation {each['training'][-1]:.1e}")  # fmt: skip
    picture(found).savefig("procrustes_of_symmetric_shapes.png", dpi=80)
