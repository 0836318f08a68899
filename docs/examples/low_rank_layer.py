"""A layer of low rank
===================

A linear layer of low rank: singular values below a threshold are 0, and training goes through the decomposition.

The usual start, an orthogonal matrix, has equal singular values: autograd through `torch.linalg.svd` gives NaN in the
first step. `gcp.linalg.singular_function` has the exact gradient there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import gcp.linalg

INPUTS, OUTPUTS, RANK, SAMPLES = 32, 24, 3, 80
THRESHOLD, STEPS, RATE, DECAY = 4.0, 400, 0.5, 0.003


class Training(NamedTuple):
    """Squared error on new samples (steps,), and singular values of the layer's matrix (steps, k)."""

    errors: Tensor
    values: Tensor


def by_gcp(weight: Tensor) -> Tensor:
    """Singular values less the threshold, at least 0."""
    return gcp.linalg.singular_function(weight, "soft_threshold", threshold=THRESHOLD)


def by_torch(weight: Tensor) -> Tensor:
    """The same by `torch.linalg.svd`."""
    U, s, Vh = torch.linalg.svd(weight, full_matrices=False)
    return U * (s - THRESHOLD).clamp(min=0) @ Vh


def train(layer: Callable[[Tensor], Tensor]) -> Training:
    """Noisy samples of a map of rank 3; weight decay takes what they do not need below the threshold, to 0."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(OUTPUTS, RANK, generator=generator) @ torch.randn(RANK, INPUTS, generator=generator) / RANK**0.5
    x, new = torch.randn(2, SAMPLES, INPUTS, generator=generator)
    y = x @ true.mT + torch.randn(SAMPLES, OUTPUTS, generator=generator)
    weight = torch.empty(OUTPUTS, INPUTS, requires_grad=True)
    torch.nn.init.orthogonal_(weight, gain=2 * THRESHOLD, generator=generator)
    optimizer = torch.optim.SGD([weight], RATE, momentum=0.9, weight_decay=DECAY)
    errors, values = [], []
    while len(errors) < STEPS and weight.isfinite().all():
        matrix = layer(weight)
        errors.append((new @ (matrix.detach() - true).mT).pow(2).mean())
        values.append(torch.linalg.svdvals(matrix.detach()))
        optimizer.zero_grad()
        (x @ matrix.mT - y).pow(2).mean().backward()
        optimizer.step()
    return Training(torch.stack(errors), torch.stack(values))


def run() -> dict[str, Training]:
    """The three layers, trained on the same data."""
    return {"full rank": train(lambda weight: weight), "torch.linalg.svd": train(by_torch), "gcp.linalg": train(by_gcp)}


def picture(found: dict[str, Training]) -> Figure:
    """Errors of the three, and the singular values of the one that is of low rank."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, training), style in zip(found.items(), ("--", "X", "-"), strict=True):
        ended = "" if len(training.errors) == STEPS else ": NaN after the first step"
        left.semilogy(training.errors, style, markersize=10, label=name + ended)
    left.set(xlabel="step", ylabel="mean squared error, new samples", title="a layer of low rank needs fewer samples")
    left.legend()
    right.plot(found["gcp.linalg"].values, color="C2", linewidth=1)
    right.set(xlabel="step", ylabel="singular values of the layer", title="all equal at first; three are needed")
    return figure


if __name__ == "__main__":
    found = run()
    for name, training in found.items():
        rank = int((training.values[-1] > 1e-4).sum())
        print(f"{name}: {len(training.errors)} steps, error {training.errors[-1]:.3f}, rank {rank}")
    picture(found).savefig("low_rank_layer.png", dpi=80)
