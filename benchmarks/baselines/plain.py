"""The square root of the covariance with autograd left to differentiate the decomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.baselines.covariance import ClassicalCovariance
from benchmarks.baselines.triangle import ClassicalTriangle


def by_eigh(covariance: Tensor) -> Tensor:
    """U diag(sqrt lam) U^T through `torch.linalg.eigh`; rounding below zero is cut off."""
    eigenvalues, U = torch.linalg.eigh(covariance)
    root: Tensor = (U * eigenvalues.clamp(min=0).sqrt().unsqueeze(-2)) @ U.mT
    return root


def by_svd(covariance: Tensor) -> Tensor:
    """U diag(sqrt lam) V^T through `torch.linalg.svd`."""
    U, eigenvalues, Vh = torch.linalg.svd(covariance)
    root: Tensor = (U * eigenvalues.sqrt().unsqueeze(-2)) @ Vh
    return root


class AutogradPooling(nn.Module):
    """(B, C, H, W) to (B, C (C + 1)/2) in float64, with no backward of its own for the square root."""

    def __init__(self, square_root: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.square_root = square_root

    def forward(self, features: Tensor) -> Tensor:
        """Covariance, square root, triangle."""
        covariance = ClassicalCovariance.apply(features.flatten(2).to(torch.float64))
        vector: Tensor = ClassicalTriangle.apply(self.square_root(covariance)).to(features.dtype)
        return vector
