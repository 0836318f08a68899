"""A homography by DLT, trained end to end
=======================================

A homography from corresponding points by DLT, the direct linear transform, inside a network that is trained.

The network moves the corners of a square; the homography is the eigenvector of a 9 x 9 matrix, of its least eigenvalue.
Its other eigenvalues matter to nobody, but of a square they come in twos and threes: where the network starts, with no
motion, autograd through `torch.linalg.eigh` gives NaN. `gcp.linalg.smallest_eigenvector` has the exact gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import gcp.linalg

SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
GRID = torch.cartesian_prod(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 5))  # (25, 2)
MOTION, NOISE = 0.4, 0.05  # of corners, and of what is seen of the grid
BATCH, STEPS, RATE = 64, 400, 3e-3

Solver = Callable[[Tensor], Tensor]


class Training(NamedTuple):
    """Root mean square error of new grids at each step; one of them as it was seen, is, and was found at the end."""

    errors: list[float]
    seen: Tensor
    true: Tensor
    found: Tensor


def by_gcp(A: Tensor) -> Tensor:
    """The vector h of length 1 for which h^T A h is least, (B, 9, 9) to (B, 9)."""
    return gcp.linalg.smallest_eigenvector(A)


def by_torch(A: Tensor) -> Tensor:
    """The same by `torch.linalg.eigh`."""
    return torch.linalg.eigh(A).eigenvectors[..., 0]


def homography(x: Tensor, y: Tensor, solver: Solver) -> Tensor:
    """H (B, 3, 3) with y ~ H x, for points (B, N, 2)."""
    x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
    zero = torch.zeros_like(x)
    rows = torch.cat([torch.cat([x, zero, -y[..., :1] * x], -1), torch.cat([zero, x, -y[..., 1:] * x], -1)], -2)
    return solver(rows.mT @ rows).unflatten(-1, (3, 3))


def moved(H: Tensor, points: Tensor) -> Tensor:
    """Where the homographies (B, 3, 3) take points (N, 2): (B, N, 2)."""
    homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], -1) @ H.mT
    return homogeneous[..., :2] / homogeneous[..., 2:]


def train(solver: Solver) -> Training:
    """A network sees noisy grid points and moves the corners; the error of the whole grid trains it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2 * len(GRID), 128), nn.ReLU(), nn.Linear(128, 8))
    nn.init.zeros_(network[2].weight)  # it starts with no motion
    nn.init.zeros_(network[2].bias)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    square = SQUARE.expand(BATCH, 4, 2)
    errors: list[float] = []
    while len(errors) < STEPS:
        motion = MOTION * (2 * torch.rand(BATCH, 4, 2) - 1)
        true = moved(homography(square, square + motion, by_torch), GRID)
        seen = true + NOISE * torch.randn_like(true)
        corners = square + network((seen - GRID).flatten(1)).unflatten(1, (4, 2))
        found = moved(homography(square, corners, solver), GRID)
        loss = (found - true).pow(2).sum(-1).mean()
        errors.append(loss.item() ** 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not all(weight.isfinite().all() for weight in network.parameters()):
            break
    return Training(errors, seen[0], true[0], found[0].detach())


def run() -> dict[str, Training]:
    """The same training by both."""
    return {"torch.linalg.eigh": train(by_torch), "gcp.linalg.smallest_eigenvector": train(by_gcp)}


def picture(found: dict[str, Training]) -> Figure:
    """The errors, and a grid that was found at the end."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
    for (name, training), style in zip(found.items(), ("C1X", "C2-"), strict=True):
        ended = "" if len(training.errors) == STEPS else ": NaN after the first step"
        left.semilogy(training.errors, style, markersize=10, linewidth=1, label=name + ended)
    left.axhline(NOISE * 2**0.5, color="grey", linestyle=":", label="noise of what the network sees")
    left.set(xlabel="step", ylabel="error of the grid")
    left.legend()
    _, seen, true, grid = found["gcp.linalg.smallest_eigenvector"]
    for points, style, name in ((true, "k-", "true"), (grid, "C2--", "found")):
        lines = points.unflatten(0, (5, 5))
        for number, line in enumerate([*lines, *lines.transpose(0, 1)]):
            right.plot(*line.T, style, linewidth=1.2, label=None if number else name)
    right.plot(*seen.T, "C0.", label="seen")
    right.set(title="a new grid at the end", aspect="equal")
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper")
    return figure


if __name__ == "__main__":
    found = run()
    for name, training in found.items():
        print(f"{name}: {len(training.errors)} steps, error of the grid {training.errors[-1]:.3f}")
    picture(found).savefig("homography_by_dlt.png", dpi=80)
