"""How well conditioned the covariances of features are."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.rounding import rounding_floor


@torch.no_grad()
def condition_number(features: Tensor) -> Tensor:
    """Largest over smallest eigenvalue of each covariance, among those that are not null, in float64.

    Null eigenvalues are left out because with fewer positions than channels, or a channel that ReLU has silenced,
    every covariance is singular, which says nothing about training.

    Args:
        features: (B, C, H, W), (B, C, L) or (B, C, T, H, W), any floating dtype.

    Returns:
        (B,) float64, at least 1; NaN for features that are constant or not finite.

    >>> condition_number(torch.tensor([[[2.0, -2.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]]))
    tensor([4.], dtype=torch.float64)
    """
    X = features.flatten(2).double()
    finite = X.isfinite().flatten(1).all(1)
    X = torch.where(finite[:, None, None], X, 0)
    channels, positions = X.shape[-2:]
    Xc = X - X.mean(-1, keepdim=True)
    eigenvalues = torch.linalg.eigvalsh(Xc.mT @ Xc if positions < channels else Xc @ Xc.mT)
    largest = eigenvalues[:, -1]
    present = eigenvalues > rounding_floor(eigenvalues.flip(-1), channels, positions)
    smallest = torch.where(present, eigenvalues, torch.inf).amin(1)
    return torch.where(present.any(1), largest / smallest, torch.nan)
